"""The two flows: to DMS and to customers. They perform what the cores decide."""
