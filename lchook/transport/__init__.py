"""What LCH stands on: gunicorn's gevent worker, gevent-websocket, python-engineio, python-socketio, Flask-SocketIO.

The one place that knows them and reaches into their inner parts: by subclasses, pinned in tests/upstream. Nothing of a
library is replaced. Knows bytes, HTTP, WebSockets, packets and events; nothing of chats.

    worker, http_server, http_handler, …       HTTP under gunicorn; `flask run` does without it
    engine_server, engine_socket, upgrade, …   Engine.IO: sessions, heartbeats, polling and WebSockets
    server, guard, namespace, connections      Socket.IO; `connections` is what the flows see of all this
"""
