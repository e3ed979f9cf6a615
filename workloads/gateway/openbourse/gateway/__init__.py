"""The traders' side: the Binance Spot wire in front of the engines."""
