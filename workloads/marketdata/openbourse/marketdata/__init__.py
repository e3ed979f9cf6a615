"""Market data of one shard: book, trades, candles and tickers, made from its committed stream."""
