"""The WebSocket streams of market data: names, what waits for a client, connections, and who hears what."""
