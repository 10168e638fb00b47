"""A DMS to develop and test against, and a chat page. Nothing in LCH itself imports it."""
