"""Section *listings*: assets and symbols, which can be defined again."""

from kernel.twin import well_formed
from kernel.twin.fees import fee, schedule_of
from kernel.twin.funds import check_asset
from kernel.twin.state import IN_QUOTE, INT64_MAX, Book, Refused, State
from kernel.twin.symbol_state import deciding, update_state

from openbourse.contracts import v1

FIELDS_OF_VERSION_1 = 10


def define_asset(state: State, define: v1.DefineAsset) -> None:
    well_formed.define_asset(define)
    before = state.assets.get(define.asset)
    if before is None:
        state.assets[define.asset] = define.scale
        state.happened("", v1.AssetDefined(asset=define.asset, scale=define.scale))
    elif before != define.scale:
        raise Refused("IMMUTABLE", "scale: cannot change")


def define_symbol(state: State, define: v1.DefineSymbol) -> None:
    well_formed.check(define.HasField("definition"), "definition: must be there")
    terms = as_kept(state, define.definition)
    well_formed.definition(terms)
    check_asset(state, terms.base_asset)
    check_asset(state, terms.quote_asset)
    book = state.books.get(terms.symbol)
    if book is not None:
        for name in ("base_asset", "quote_asset", "tick_units", "lot_units"):
            if getattr(book.definition, name) != getattr(terms, name):
                raise Refused("IMMUTABLE", f"{name}: cannot change")
    u, rest = divmod(terms.tick_units * terms.lot_units, 10 ** state.assets[terms.base_asset])
    well_formed.check(rest == 0, "tick_units: times lot_units must be a multiple of 10^scale of base_asset")
    check_largest_order(terms, u)
    if book is not None and book.definition != terms:
        book.check_here()
    fees = schedule_of(terms)
    if book is None:
        book = state.books[terms.symbol] = Book(terms, u, [fees])
    elif book.definition == terms:
        return
    book.definition = terms
    if state.version == 1:
        book.schedules = [fees]
    elif book.schedules[-1] != fees:
        book.schedules.append(fees)
    fee_schedule = len(book.schedules) if state.version > 1 else 0
    state.happened(terms.symbol, v1.SymbolDefined(definition=terms, fee_schedule=fee_schedule))
    decision = deciding(state, book)
    update_state(state, book, decision.reason, decision.halt)


def as_kept(state: State, sent: v1.SymbolDefinition) -> v1.SymbolDefinition:
    terms = v1.SymbolDefinition()
    terms.CopyFrom(sent)
    for field in terms.DESCRIPTOR.fields:
        empty_band = field.name.endswith("_band") and not any(
            (getattr(terms, field.name).lowest_ppm, getattr(terms, field.name).highest_ppm)
        )
        if empty_band or (state.version == 1 and field.number > FIELDS_OF_VERSION_1):
            terms.ClearField(field.name)  # type: ignore[arg-type]
    return terms


def check_largest_order(terms: v1.SymbolDefinition, u: int) -> None:
    base = terms.max_quantity_lots * terms.lot_units
    quote = terms.max_price_ticks * terms.max_quantity_lots * u
    if terms.fee_charge == IN_QUOTE:
        quote += fee(quote, max(terms.maker_fee_ppm, terms.taker_fee_ppm))
    if max(base, quote) > INT64_MAX:
        detail = "max_quantity_lots: the largest order would leave the range of a signed 64-bit integer"
        raise Refused("OVERFLOW", detail)
