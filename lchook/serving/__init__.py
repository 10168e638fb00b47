"""The gunicorn worker: gevent's server, with gevent-websocket for the handshakes, made strict, bounded and quick.

Knows bytes, HTTP and WebSockets; of LCH only that posts to the webhook have a shorter way. `flask run` does without it.
"""
