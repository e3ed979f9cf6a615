"""Trades into PostgreSQL through the PyPI package django-hordak, as many a database transaction as it is told.

It runs in a process and with packages of its own, and is told by lines of JSON: first where the database is, then
trades and how many of them are one transaction, which it answers with the seconds that they took. A trade is one hordak
Transaction with a Leg for each sum that moves; hordak's triggers see that these sum up to zero in each currency, and
that each account has it. Both ways of writing are the quickest that hordak's models have.
"""

import json
import sys
import time
from decimal import Decimal
from typing import Any, TypeAlias

# maker, taker, whether the taker buys, quantity, quote, fees of maker and taker; amounts as whole units.
Trade: TypeAlias = tuple[int, int, bool, int, int, int, int]

# django-money has three letters for a currency.
BASE, QUOTE = "BTC", "USD"
SCALE = -8
FEES = 0


def begin(database: dict[str, str]) -> None:
    import django  # noqa: PLC0415 - in the packages of this process alone, as all below
    from django.conf import settings  # noqa: PLC0415
    from moneyed import add_currency  # noqa: PLC0415

    add_currency(code=BASE, numeric=None, name="Bitcoin")
    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **database}},
        INSTALLED_APPS=["django.contrib.contenttypes", "mptt", "hordak"],
        CURRENCIES=(BASE, QUOTE),
        DEFAULT_CURRENCY=QUOTE,
        HORDAK_CURRENCIES=[BASE, QUOTE],
        HORDAK_INTERNAL_CURRENCY=QUOTE,
        HORDAK_DECIMAL_PLACES=-SCALE,
        HORDAK_MAX_DIGITS=30,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)


class Books:
    """One account a trader, in both currencies, and one for fees."""

    def __init__(self, traders: list[int]) -> None:
        from hordak.models import Account, AccountType  # noqa: PLC0415

        kinds = {FEES: AccountType.income} | dict.fromkeys(traders, AccountType.liability)
        # A root each, and in one piece: one by one they would take longer than what is measured.
        accounts = Account.objects.bulk_create(
            Account(
                name=str(number),
                type=kind,
                currencies=[BASE, QUOTE],
                lft=1,
                rght=2,
                level=0,
                tree_id=place,
            )
            for place, (number, kind) in enumerate(kinds.items(), start=1)
        )
        self._ids = {int(account.name): account.pk for account in accounts}

    def settle(self, trades: list[Trade], batch: int) -> float:
        """Seconds until all were committed."""
        from django.db import transaction  # noqa: PLC0415
        from hordak.models import Leg, Transaction  # noqa: PLC0415

        start = time.perf_counter()
        for first in range(0, len(trades), batch):
            part = trades[first : first + batch]
            with transaction.atomic():
                if batch == 1:
                    made = [Transaction.objects.create()]
                else:
                    made = Transaction.objects.bulk_create(Transaction() for _ in part)
                Leg.objects.bulk_create(
                    leg for each, trade in zip(made, part, strict=True) for leg in self._legs(each, trade)
                )
        return time.perf_counter() - start

    def _legs(self, made: Any, trade: Trade) -> list[Any]:
        from hordak.models import Leg  # noqa: PLC0415
        from moneyed import Money  # noqa: PLC0415

        maker, taker, buys, quantity, quote, maker_fee, taker_fee = trade
        buyer, seller = (taker, maker) if buys else (maker, taker)
        buyer_fee, seller_fee = (taker_fee, maker_fee) if buys else (maker_fee, taker_fee)
        legs = []
        for currency, paid, fee, payer, payee in (
            (QUOTE, quote, seller_fee, buyer, seller),
            (BASE, quantity, buyer_fee, seller, buyer),
        ):
            for account, debit, credit in ((payer, paid, 0), (payee, 0, paid - fee), (FEES, 0, fee)):
                # A leg of nothing is refused.
                if debit or credit:
                    amount = Money(Decimal(debit or credit).scaleb(SCALE), currency)
                    side = {"debit": amount, "credit": None} if debit else {"debit": None, "credit": amount}
                    legs.append(Leg(transaction=made, account_id=self._ids[account], currency=currency, **side))
        return legs

    def settled(self) -> int:
        from hordak.models import Transaction  # noqa: PLC0415

        return int(Transaction.objects.count())


def main() -> None:
    told = json.loads(sys.stdin.readline())
    begin(told["database"])
    books = Books(told["traders"])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        seconds = books.settle([tuple(trade) for trade in told["trades"]], told["batch"])
        print(json.dumps({"seconds": seconds}), flush=True)
    print(json.dumps({"settled": books.settled()}), flush=True)


if __name__ == "__main__":
    main()
