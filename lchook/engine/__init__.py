"""Engine.IO and Socket.IO: what python-engineio and python-socketio lack, or do at too high a price.

The one place that reaches into their inner parts. Knows nothing of chats.
"""
