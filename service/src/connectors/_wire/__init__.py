"""The gRPC face of the service: protocols, statuses and the transport they run on.

It turns bytes from callers into calls on the engine, and the engine's answers into bytes. It holds no policy of its
own: which job is started, retried or repeated is decided below it.
"""
