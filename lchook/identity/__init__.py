"""The site's identity provider: its keys, fetched and kept."""
