"""What is asked of LCH over HTTP and Socket.IO: the webhook, the chat, health, metrics."""
