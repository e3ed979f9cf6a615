// Candles and volume, painted by lightweight-charts. What it needs to know of us: candles, colors, decimals, and the
// prices of the trader's own open orders.
import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
  LineStyle,
  type IChartApi,
  type IPriceLine,
  type ISeriesApi,
  type MouseEventParams,
  type Time,
  type UTCTimestamp,
} from 'lightweight-charts'
import type { Market } from '../pure/market.ts'
import { clockTime, dayAndTime } from '../pure/times.ts'
import type { Order } from '../pure/orders.ts'
import { INTERVALS, type Candle, type Interval } from '../live/live_candles.ts'
import { byId, element, setText } from './dom.ts'
import { color } from './theme.ts'

const OLDER_FROM_BAR = 20
const SHOWN_FIRST = 110

export class ChartView {
  private readonly chart: IChartApi
  private readonly candles: ISeriesApi<'Candlestick'>
  private readonly volume: ISeriesApi<'Histogram'>
  private readonly legend = byId('chart-legend')
  private readonly empty = byId('chart-empty')
  private lines: IPriceLine[] = []
  private shown: readonly Candle[] = []
  private market: Market | null = null
  private interval: Interval
  private fitted = false
  /** Asked for once a theme: each question makes the browser compute styles. */
  private bars = { up: '', down: '' }

  constructor(interval: Interval, choose: (interval: Interval) => void, older: () => void) {
    this.interval = interval
    this.chart = createChart(byId('chart'), {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      // Its mark brings a style sheet of its own, which our policy refuses: the name stands below the chart.
      layout: { attributionLogo: false, fontFamily: 'inherit' },
      localization: { timeFormatter: (time: Time) => dayAndTime(Number(time) * 1000) },
      timeScale: { timeVisible: true, rightOffset: 4, tickMarkFormatter: tickMark },
    })
    this.candles = this.chart.addSeries(CandlestickSeries, {})
    this.volume = this.chart.addSeries(HistogramSeries, {
      priceScaleId: 'volume',
      priceFormat: { type: 'volume' },
      lastValueVisible: false,
      priceLineVisible: false,
    })
    this.chart.priceScale('right').applyOptions({ scaleMargins: { top: 0.08, bottom: 0.24 } })
    this.chart.priceScale('volume').applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } })
    this.chart.subscribeCrosshairMove((event) => this.say(event))
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < OLDER_FROM_BAR) older()
    })
    this.makeIntervals(choose)
    this.paintColors()
  }

  look(market: Market): void {
    this.market = market
    this.fitted = false
    const minMove = 1 / 10 ** market.priceDecimals
    this.candles.applyOptions({ priceFormat: { type: 'price', precision: market.priceDecimals, minMove } })
    this.replace([])
    this.away('Loading candles …')
    byId('chart').setAttribute('aria-label', `Candles and volume of ${market.base}/${market.quote}`)
  }

  setInterval(interval: Interval): void {
    this.interval = interval
    this.fitted = false
    this.chart.applyOptions({ timeScale: { secondsVisible: interval === '1s' } })
    this.replace([])
    this.away('Loading candles …')
  }

  replace(candles: readonly Candle[]): void {
    this.shown = candles
    this.candles.setData(candles.map((candle) => ({ ...bar(candle) })))
    this.volume.setData(candles.map((candle) => this.volumeBar(candle)))
    this.away(candles.length ? '' : 'No trades yet.')
    if (!this.fitted && candles.length) {
      this.fitted = true
      const from = Math.max(-2, candles.length - SHOWN_FIRST)
      this.chart.timeScale().setVisibleLogicalRange({ from, to: Math.max(candles.length + 4, from + 60) })
    }
    this.say(null)
  }

  move(candle: Candle, all: readonly Candle[]): void {
    this.shown = all
    this.candles.update(bar(candle))
    this.volume.update(this.volumeBar(candle))
    this.away('')
    this.say(null)
  }

  setOrders(orders: readonly Order[]): void {
    for (const line of this.lines) this.candles.removePriceLine(line)
    this.lines = orders.map((order) =>
      this.candles.createPriceLine({
        price: Number(order.price),
        color: color(order.side === 'BUY' ? '--up' : '--down'),
        lineStyle: LineStyle.Dashed,
        lineWidth: 1,
        axisLabelVisible: false,
        title: order.side === 'BUY' ? 'Buy' : 'Sell',
      }),
    )
  }

  paintColors(): void {
    const [text, line, up, down] = [color('--quiet'), color('--line'), color('--up'), color('--down')]
    this.chart.applyOptions({
      layout: { background: { color: color('--panel') }, textColor: text, fontFamily: getComputedStyle(document.body).fontFamily, fontSize: 11 },
      grid: { vertLines: { color: color('--grid') }, horzLines: { color: color('--grid') } },
      rightPriceScale: { borderColor: line },
      timeScale: { borderColor: line },
      crosshair: { vertLine: { labelBackgroundColor: color('--chip') }, horzLine: { labelBackgroundColor: color('--chip') } },
    })
    this.candles.applyOptions({ upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down })
    this.bars = { up: color('--up-bar'), down: color('--down-bar') }
    this.volume.setData(this.shown.map((candle) => this.volumeBar(candle)))
  }

  private volumeBar(candle: Candle): { time: UTCTimestamp; value: number; color: string } {
    return { time: time(candle), value: candle.volume, color: candle.close >= candle.open ? this.bars.up : this.bars.down }
  }

  private away(text: string): void {
    this.empty.hidden = !text
    setText(this.empty, text)
  }

  private say(event: MouseEventParams<Time> | null): void {
    const at = event?.time
    const candle = at === undefined ? this.shown.at(-1) : this.shown.find((each) => time(each) === at)
    if (candle === undefined || this.market === null) {
      this.legend.replaceChildren()
      return
    }
    const decimals = this.market.priceDecimals
    const tone = candle.close >= candle.open ? 'up' : 'down'
    const parts = [
      ['O', candle.open.toFixed(decimals)],
      ['H', candle.high.toFixed(decimals)],
      ['L', candle.low.toFixed(decimals)],
      ['C', candle.close.toFixed(decimals)],
      ['V', candle.volume.toPrecision(4)],
    ].map(([name, text]) => element('span', {}, `${name} `, element('b', { class: tone }, text!)))
    this.legend.replaceChildren(...parts)
  }

  private makeIntervals(choose: (interval: Interval) => void): void {
    const choices = INTERVALS.map((interval) => {
      const input = element('input', { type: 'radio', name: 'interval', value: interval, checked: interval === this.interval })
      input.addEventListener('change', () => choose(interval))
      return element('label', {}, input, element('span', {}, interval))
    })
    byId('intervals').replaceChildren(...choices)
  }
}

const time = (candle: Candle): UTCTimestamp => (candle.openMs / 1000) as UTCTimestamp

const bar = (candle: Candle): { time: UTCTimestamp; open: number; high: number; low: number; close: number } => ({
  time: time(candle),
  open: candle.open,
  high: candle.high,
  low: candle.low,
  close: candle.close,
})

/** In the trader's own time zone. */
function tickMark(at: Time, kind: number): string {
  const ms = Number(at) * 1000
  const [day, clock] = [dayAndTime(ms), clockTime(ms)]
  // Year, month, day of month, time, time with seconds.
  return [day.slice(0, 4), day.slice(0, 7), day.slice(5, 10), clock.slice(0, 5), clock][kind] ?? clock
}
