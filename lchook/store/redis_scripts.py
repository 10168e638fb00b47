"""What the Redis store does in one step each: the scripts in `lua/`. Owns the layout of the keys; no network.

`{p}` is the prefix; times are milliseconds of Redis's own clock, so that instances need not agree on theirs.

    {p}number                 the number of the latest message in a mailbox, of all; begins with the time in microseconds
    {p}box:<customer>         sorted set: number → "<at>:<text>", a mailbox
    {p}oldest                 sorted set: customer → when their oldest message came in, for customers with messages
    {p}seen:<fingerprint>     a webhook that need not be kept again
    {p}owner:<customer>       "<instance> <at>": the instance that delivers to the customer, and when they came to it;
                              0 where they have not spoken there, and others may claim them
    {p}standby:<customer>     set: instances that had the customer, or wanted to, for some time
    {p}held:<customer>        set: instances that wait for acknowledgements of the customer
    {p}due:<instance>         set: customers of the instance for whom messages have come in
    {p}alive:<instance>       there as long as the instance is
    {p}ended:<instance>       there for some time after its regular end
    {p}instances              set: those that are alive, or have ended and left something to post
    {p}queue:<customer>       list: messages to DMS, in their order
    {p}poster:<customer>      "<instance> <number>": who posts for the customer, and which message is being posted; 0: none
    {p}posts:<instance>       set: the customers for whom it posts
    {p}orphans                set: customers with messages for whom nobody posts
    {p}outbox                 sorted set: customer → when the first message of their queue came in
    {p}outbox_number          the number of the latest message, of all customers
    {p}outbox_size            how many messages wait, of all customers
    {p}to_dms:<key>           what became of a message: "q <instance> <ticket>" waits or is being posted, "d <outcome>", with
                              the customer in it
    {p}status:<customer>      list: what is to be told to the customer when they connect
    {p}log:<customer>         sorted set: number → an entry of the conversation, see `_log.lua`
    {p}log_outcomes:<customer> hash: number → what became of it
    {p}log_changes:<customer> sorted set: number of the change that brought that → number
    {p}log_pending:<customer> hash: number in the queue → number
    {p}log_oldest             sorted set: customer → number of their oldest entry
    {p}followers:<customer>   set: instances with connections that follow the conversation
    {p}news:<instance>        set: customers with followers there, whose conversations have grown
    {p}bell:<instance>        channel: notifications, what the instance should look at
"""

from __future__ import annotations

from importlib import resources


def load() -> dict[str, str]:
    """The scripts, by name. Each gets the prefix and the instance, and then what its first comment says.

    A line `--! needs …` names what goes before it: the files whose names begin with an underscore.
    """
    folder = resources.files("lchook.store").joinpath("lua")
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".lua")
    }
    return {name: _with_its_needs(text, texts) for name, text in texts.items() if not name.startswith("_")}


def _with_its_needs(text: str, texts: dict[str, str]) -> str:
    needs = [line.removeprefix("--! needs ").split() for line in text.splitlines() if line.startswith("--! needs ")]
    return "\n".join([*(texts[f"_{name}"] for names in needs for name in names), text])
