"""What an account hears of itself: its orders, balances, deposits and withdrawals."""
