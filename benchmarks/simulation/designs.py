"""Five ways to bring logs off a host: what each costs, loses and leaves, for every attempt of every run.

Within an attempt nothing happens by chance but its end: the ticks between are counted in closed form, which
`tests/simulation/test_designs.py` holds against a loop over each tick.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from random import Random

from benchmarks.simulation.costs import Costs
from benchmarks.simulation.events import Attempt, Loop, Observer
from benchmarks.simulation.trace import DAY_S, HOUR_S, Outages, Run

GB = 1e9
MERGED_SEGMENTS = 64
SEGMENT_BYTES = 8 << 20
TASK_EVENTS = 350_000
"""So many lines are 64 MiB, a task of the lake's builder."""
META_BYTES, NEWS_BYTES, WHOLE_BYTES = 1_000, 100, 50
LONGEST_RETRY_S = 30.0
METRICS = 3
"""Values of an event."""
KEYED_TABLES = 3
"""Experiments, runs and summaries: rows by key, which are merged; metrics are appended."""
ROW_BYTES, QUERY_S = 70.0, 0.42
"""A run in the table of experiments, and a query over a million of them: see `table.py`."""
PARALLEL = 64
"""Requests at once of somebody who reads much, and workers of the lake's builder: each has one under way."""
READS_OF_NEW, METAS = 3, 3
"""GETs of a build for each object with new lines (survey, the stretch that it joins, rows) and of the meta of an experiment."""
SAMPLE_S = 150.0
"""One value of how long it takes until a row is there for so many seconds of logging."""
STARTED_AGAIN_S = 60.0
PULLED = 0.05
"""Share of runs that somebody pulls as files, once they have ended."""


@dataclass(frozen=True)
class Prices:
    """List prices of one region, in dollars; none of them was measured."""

    per_put: float = 0.005 / 1000
    """Also of a LIST."""
    per_get: float = 0.0004 / 1000
    gb_month: float = 0.023
    core_hour: float = 0.05
    zone_gb: float = 0.02
    """Between two zones, both directions."""
    broker_hour: float = 0.204
    disk_gb_month: float = 0.08
    server_hour: float = 0.192
    """Of four cores; a database of that size is counted as one server more."""


PRICES = Prices()


@dataclass
class Totals:
    """What a design has cost, lost and left."""

    puts: float = 0.0
    lists: float = 0.0
    gets: float = 0.0
    deletes: float = 0.0
    bytes_up: float = 0.0
    bytes_stored: float = 0.0
    objects: float = 0.0
    lost_events: float = 0.0
    doubled_rows: float = 0.0
    lost_s: array[float] = field(default_factory=lambda: array("d"))
    """One for each killed attempt."""
    objects_read: array[float] = field(default_factory=lambda: array("d"))
    """GETs to read a run that has ended, one for each run."""
    stale_s: array[float] = field(default_factory=lambda: array("d"))
    """From an event to its row in a table that analysts query, sampled."""
    services_dollars: float = 0.0
    """Machines that run for nothing but this."""
    list_s: float = 0.0
    list_requests: float = 0.0
    builder_s: float = 0.0
    are_billed: bool = True
    """Whether requests cost anything by themselves, as they do at an object store."""

    def dollars(self, prices: Prices = PRICES) -> float:
        """Requests, services, and a month of what is stored."""
        requests = (self.puts + self.lists) * prices.per_put + self.gets * prices.per_get
        return self.are_billed * requests + self.services_dollars + self.bytes_stored / GB * prices.gb_month


class Design(Observer):
    """What all designs share: how old the last line is that arrived, when a host vanishes."""

    title = ""

    def __init__(self, costs: Costs, every_s: float = 10.0, seed: int = 17) -> None:
        self.costs, self.every_s = costs, every_s
        self.totals = Totals()
        self.random = Random(f"{self.title} {seed}")
        self.ended_runs = 0

    def finish(self, now: float) -> None:
        """Add what depends on how long it all took, or on all that is there."""

    def lose(self, attempt: Attempt, unsafe_s: float) -> None:
        """Note what a killed attempt took with it."""
        unsafe_s = min(unsafe_s, attempt.length_s)
        self.totals.lost_s.append(unsafe_s)
        self.totals.lost_events += unsafe_s * attempt.run.rate

    def unsafe_s(self, attempt: Attempt, request_s: float) -> float:
        """Draw how much a vanished host takes with it: all that came after the last request that succeeded had begun."""
        age_s = self._age_s(request_s)
        if attempt.outages:
            begin, end = attempt.outages[-1]
            again_s = self.random.uniform(0, min(LONGEST_RETRY_S, end - begin)) + request_s
            if attempt.end - end < again_s:
                return attempt.end - begin + age_s
        return age_s

    def _age_s(self, request_s: float) -> float:
        # A moment falls into a long pause more often than into a short one: pauses are uniform, those hit are not.
        low, high = 0.8 * self.every_s, 1.2 * self.every_s
        pause_s = math.sqrt(low**2 + self.random.random() * (high**2 - low**2))
        since_s = self.random.uniform(0, pause_s + request_s)
        if since_s >= request_s:
            return since_s
        return since_s + request_s + self.random.uniform(low, high)  # the request under way is lost, too

    def online_s(self, attempt: Attempt) -> float:
        """How long the store was within reach."""
        return attempt.length_s - sum(end - begin for begin, end in attempt.outages)


@dataclass(slots=True)
class _Copies:
    """What lies in the bucket of one run."""

    objects: float = 0.0
    stored: float = 0.0


class Segments(Design):
    """Immutable segments of the log, and a Delta lake that is built from them every ten minutes."""

    title = "segments, merged (mlv)"
    merged_segments = MERGED_SEGMENTS

    def __init__(
        self,
        costs: Costs,
        every_s: float = 10.0,
        seed: int = 17,
        *,
        news: bool = True,
        txn: bool = True,
        lake_every_s: float | None = 600.0,
        pulled: float = PULLED,
        pulls: bool = True,
    ) -> None:
        super().__init__(costs, every_s, seed)
        self.pulls = pulls
        self.news, self.txn, self.lake_every_s, self.pulled = news, txn, lake_every_s, pulled
        self._copies: dict[int, _Copies] = {}
        self._active = 0
        self._rate = _Integral()
        self._running: dict[int, tuple[Run, float]] = {}
        """Runs that go on, each with the moment at which its present attempt began."""
        self._done_s: dict[int, float] = {}
        """How much of a run was done by attempts that were killed."""
        self._marks = _Marks()
        self._load = _Load()
        self._built_at = 0.0
        self._killed_at = self.random.expovariate(1 / (6 * HOUR_S))

    def attach(self, loop: Loop, is_over: Callable[[], bool]) -> None:
        """Let the lake's builder begin, if there is a lake."""
        if self.lake_every_s is not None:
            interval_s = self.lake_every_s
            loop.at(interval_s, lambda: self._build(loop, interval_s, is_over))

    def begun(self, now: float, run: Run) -> None:
        self._active += 1
        self._rate.add(now, run.rate)
        self._marks.begin(now, run.number, self._running)
        self._running[run.number] = run, now

    def ended(self, now: float, attempt: Attempt) -> None:
        run, totals = attempt.run, self.totals
        self._active -= 1
        self._rate.add(now, -run.rate)
        self._running.pop(run.number, None)
        copies = self._copies.setdefault(run.number, _Copies())
        segments = self.shipments(attempt)
        if segments:
            self._announce(attempt, copies)
            self._ship(attempt, copies, segments)
        if attempt.killed:
            self._done_s[run.number] = attempt.done_s + attempt.length_s
            self.lose(attempt, self.unsafe_s(attempt, self.costs.put_s(self._segment_bytes(attempt))))
            return
        self._done_s.pop(run.number, None)
        self._put(copies, 1, WHOLE_BYTES)
        totals.objects_read.append(copies.objects)
        totals.gets += self.pulled * copies.objects
        totals.lists += self.pulled * math.ceil(copies.objects / 1000)
        totals.objects += copies.objects
        totals.bytes_stored += copies.stored
        del self._copies[run.number]
        self.ended_runs += 1

    def shipments(self, attempt: Attempt) -> float:
        """How many segments an attempt ships: one a tick, if there is something new, and one when the run has ended."""
        cycle_s = self.every_s + self.costs.put_s(self._segment_bytes(attempt))
        online_s = self.online_s(attempt)
        ticks = math.floor(online_s / cycle_s + self.random.random())  # the first comes anywhere within the first cycle
        if not attempt.killed:
            return max(min(attempt.events, ticks) + 1, attempt.events * self.costs.line_bytes / SEGMENT_BYTES)
        return max(min(attempt.events, ticks), attempt.events * self.costs.line_bytes / SEGMENT_BYTES if ticks else 0.0)

    def finish(self, now: float) -> None:
        _list_by_table(self.totals, self.costs, self.ended_runs)
        self.totals.services_dollars += self.totals.builder_s / HOUR_S * PRICES.core_hour

    def _announce(self, attempt: Attempt, copies: _Copies) -> None:
        totals = self.totals
        totals.gets += 1  # whether meta.json is there; of a new copy nothing else is asked
        if not copies.objects:
            self._put(copies, 1, META_BYTES)
        elif self.pulls:
            # To go on elsewhere, the log is pulled; the folder is another copy, and ships all its lines.
            totals.gets += copies.objects
            totals.lists += 1
            raw = attempt.events_before * self.costs.line_bytes
            whole = max(1, math.ceil(raw / SEGMENT_BYTES))
            self._put(copies, whole, self.costs.gzip_bytes(raw / whole))
        news = 1 + int(attempt.length_s // DAY_S)
        totals.puts += news
        totals.objects += news
        totals.bytes_up += news * NEWS_BYTES
        totals.bytes_stored += news * NEWS_BYTES

    def _ship(self, attempt: Attempt, copies: _Copies, segments: float) -> None:
        raw = attempt.events * self.costs.line_bytes / segments
        merges, single = divmod(segments, self.merged_segments) if self.merged_segments else (0.0, segments)
        if self.merged_segments and not attempt.killed and single > 1:  # the seal merges what is left
            self._put(copies, 1, self.costs.gzip_bytes(single * raw))
            self.totals.puts += single
            self.totals.bytes_up += single * self.costs.gzip_bytes(raw)
            self.totals.deletes += single
        else:
            self._put(copies, single, self.costs.gzip_bytes(raw))
        if merges:
            self._put(copies, merges, self.costs.gzip_bytes(self.merged_segments * raw))
            self.totals.puts += merges * self.merged_segments
            self.totals.bytes_up += merges * self.merged_segments * self.costs.gzip_bytes(raw)
            self.totals.deletes += merges * self.merged_segments

    def _put(self, copies: _Copies, count: float, size: float) -> None:
        self.totals.puts += count
        self.totals.bytes_up += count * size
        copies.objects += count
        copies.stored += count * size

    def _segment_bytes(self, attempt: Attempt) -> float:
        return self.costs.gzip_bytes(self.costs.line_bytes * max(1.0, attempt.run.rate * self.every_s))

    def _measured(self, now: float) -> _Load:
        """Return what a build reads of a run that goes on, on average; counted once an hour, as that takes its time."""
        if now - self._load.at < HOUR_S and self._load.at:
            return self._load
        gets = events = 0.0
        for run, begin in self._running.values():
            there, new = self._objects(run, begin, now)
            gets += METAS + READS_OF_NEW * new + there  # summaries are made of all lines that there are
            events += run.rate * (self._done_s.get(run.number, 0.0) + now - begin)
        count = max(1, len(self._running))
        self._load = _Load(now, gets / count, events / count)
        return self._load

    def _objects(self, run: Run, begin: float, now: float) -> tuple[float, float]:
        """Return how many objects of a run that goes on are there, and how many of them hold lines since the latest build."""
        rate = min(run.rate, 1 / self.every_s)
        shipped, new = rate * (now - begin), rate * (now - max(begin, self._built_at))
        merged, single = divmod(shipped, self.merged_segments) if self.merged_segments else (0.0, shipped)
        if new > single:
            new = single + math.ceil((new - single) / self.merged_segments) if self.merged_segments else new
        copies = self._copies.get(run.number)
        return merged + single + (copies.objects + 1 if copies is not None else 0.0), new

    def _build(self, loop: Loop, interval_s: float, is_over: Callable[[], bool]) -> None:
        """Plan, parse, append and merge; begin again when the interval is over, or at once."""
        now, costs, totals = loop.now, self.costs, self.totals
        events, load = self._rate.taken(now), self._measured(now)
        if self.news:
            self._marks.turn(now, self._running)
            pages = math.ceil((self._marks.count + 1) / 1000)
            lists = pages + self._marks.runs
        else:
            there = totals.objects + sum(copies.objects for copies in self._copies.values())
            pages = lists = math.ceil((there + 1) / 1000)
        tasks = math.ceil(events / TASK_EVENTS)
        listing_s = pages * costs.list_s(1000) + (lists - pages) * costs.list_s(10) / PARALLEL
        gets = load.gets * self._active
        again = load.events * self._active
        reading_s = gets * costs.get_s(costs.gzip_bytes((2 * events + again) * costs.line_bytes / max(1.0, gets))) / PARALLEL
        rows_s = tasks * (costs.parse_s(events / tasks) + costs.commit_s(METRICS * events / tasks)) if tasks else 0.0
        summaries_s = again / TASK_EVENTS * costs.parse_s(TASK_EVENTS)
        parsing_s = (rows_s + summaries_s) / PARALLEL
        known = self.ended_runs + self._active
        keyed_s = KEYED_TABLES * (costs.merge_s(known) + costs.commit_trips(costs.latency_ms))
        commit_s = costs.commit_trips(costs.latency_ms)
        build_s = listing_s + reading_s + parsing_s + commit_s + keyed_s
        totals.lists += lists
        totals.gets += gets
        totals.puts += tasks + 2 * KEYED_TABLES + 2  # files and commits of the tables, and the plan
        totals.builder_s += build_s + rows_s + summaries_s
        if self._killed_at < now + build_s:
            if not self.txn and self._killed_at > now + build_s - keyed_s:
                totals.doubled_rows += METRICS * events  # the table of metrics had them, and the plan is done again
            while self._killed_at < now + build_s:
                self._killed_at += self.random.expovariate(1 / (6 * HOUR_S))
            build_s += build_s + STARTED_AGAIN_S
        for _ in range(max(1, round((now - self._built_at) / SAMPLE_S))):
            totals.stale_s.append(self._age_s(0.1) + self.random.uniform(0, now - self._built_at) + build_s)
        self._built_at = now
        if not is_over():
            loop.at(now + max(interval_s, build_s), lambda: self._build(loop, interval_s, is_over))


class SmallSegments(Segments):
    """The same, but nobody merges segments, and nobody notes what is new."""

    title = "segments, not merged"
    merged_segments = 0

    def __init__(self, costs: Costs, every_s: float = 10.0, seed: int = 17) -> None:
        super().__init__(costs, every_s, seed, news=False)


class WholeFiles(Design):
    """The file of a run is written anew each time, as loggers do that open a file on an object store."""

    title = "whole file again"

    def ended(self, now: float, attempt: Attempt) -> None:
        totals, costs = self.totals, self.costs
        writes, uploaded = self.writes(attempt)
        totals.puts += writes
        totals.bytes_up += uploaded
        size = costs.gzip_bytes(max(1.0, attempt.events_before + attempt.events) * costs.line_bytes)
        if attempt.number == 0:
            totals.puts += 1
            totals.objects += 2
        else:
            totals.gets += 2
        if attempt.killed:
            self.lose(attempt, self.unsafe_s(attempt, costs.put_s(size)))
            return
        totals.objects_read.append(2)
        totals.gets += 2 * PULLED
        totals.bytes_stored += size + 1_000
        self.ended_runs += 1

    def writes(self, attempt: Attempt, steps: int = 8) -> tuple[float, float]:
        """How often the file is written, and how many bytes that are: longer files take longer, and so come less often."""
        costs, run = self.costs, attempt.run
        step_s = self.online_s(attempt) / steps
        count = uploaded = 0.0
        for number in range(steps):
            events = attempt.events_before + attempt.events * (number + 0.5) / steps
            size = costs.gzip_bytes(max(1.0, events) * costs.line_bytes)
            times = min(run.rate * step_s, step_s / (self.every_s + costs.put_s(size)))
            count += times
            uploaded += times * size
        return (count, uploaded) if count >= 1 else (1.0, uploaded / max(count, 1e-9))

    def finish(self, now: float) -> None:
        _list_by_files(self.totals, self.costs, self.ended_runs)
        self.totals.stale_s.extend(self._age_s(0.1) for _ in range(10_000))  # readers open the file itself


class Broker(Design):
    """Producers send to a broker of three machines; a sink writes an object for each partition every ten minutes."""

    title = "broker and sink"
    linger_s = 0.1
    delivery_s = 120.0
    """A record that could not be delivered for so long is dropped: `delivery.timeout.ms` of Kafka's producer."""
    rotation_s = 600.0
    partitions = 64
    brokers = 3
    kept_days = 7.0

    def __init__(self, costs: Costs, every_s: float = 10.0, seed: int = 17) -> None:
        super().__init__(costs, self.linger_s, seed)
        self._sent = 0.0

    def ended(self, now: float, attempt: Attempt) -> None:
        raw = attempt.events * self.costs.line_bytes
        self._sent += self.costs.gzip_bytes(max(1.0, raw))
        self.totals.bytes_up += self.costs.gzip_bytes(max(1.0, raw))
        self.totals.lost_events += attempt.run.rate * sum(
            max(0.0, end - begin - self.delivery_s) for begin, end in attempt.outages
        )
        if attempt.killed:
            self.lose(attempt, self.unsafe_s(attempt, self.costs.latency_ms / 1000))
            return
        self.ended_runs += 1
        # Its partition's objects of all the time that it took; each holds lines of other runs, too.
        self.totals.objects_read.append(1 + math.ceil((attempt.done_s + attempt.length_s) / self.rotation_s))

    def finish(self, now: float) -> None:
        totals = self.totals
        objects = now / self.rotation_s * self.partitions
        totals.puts += objects
        totals.objects += objects
        totals.bytes_stored += self._sent
        totals.gets += PULLED * sum(totals.objects_read)
        disks = (
            self._sent * self.brokers * min(1.0, self.kept_days * DAY_S / now) / GB * PRICES.disk_gb_month * now / (30 * DAY_S)
        )
        machines = (self.brokers * PRICES.broker_hour + 2 * PRICES.core_hour) * now / HOUR_S
        totals.services_dollars += machines + disks + self._sent / GB * self.brokers * PRICES.zone_gb
        totals.stale_s.extend(self.random.uniform(0, self.rotation_s) + self.costs.put_s(1e6) for _ in range(10_000))
        _list_by_table(totals, self.costs, self.ended_runs)


class Server(Design):
    """Clients send batches to a server in front of a database, of as many workers as 70 % of them can bear."""

    title = "server and database"
    metric_s = 0.009
    """A worker's time for one value: 1,000 took 9 s on MySQL (mlflow, issue 3010)."""
    listed_s = 0.03
    """A run of a list: 30,000 took more than 15 minutes (mlflow, issue 2730)."""
    workers_each = 4
    load = 0.7

    def __init__(self, costs: Costs, every_s: float, seed: int, away: Outages, events_each_s: float) -> None:
        super().__init__(costs, every_s, seed)
        self._away = away
        self.workers = math.ceil(events_each_s * METRICS * self.metric_s / self.load)
        self._served = self.workers / (METRICS * self.metric_s)
        self._rate = self._backlog = self._now = 0.0

    @property
    def delay_s(self) -> float:
        """How long a batch waits that arrives now."""
        return self._backlog / self._served

    def begun(self, now: float, run: Run) -> None:
        self._pass(now)
        self._rate += run.rate

    def ended(self, now: float, attempt: Attempt) -> None:
        self._pass(now)
        self._rate -= attempt.run.rate
        ticks = self.online_s(attempt) / self.every_s
        self.totals.puts += max(1.0, min(attempt.events, ticks))
        self.totals.bytes_up += self.costs.gzip_bytes(max(1.0, attempt.events * self.costs.line_bytes))
        self.totals.stale_s.append(self._age_s(0.1) + self.delay_s)
        if attempt.killed:
            self.lose(attempt, self.unsafe_s(attempt, self.costs.latency_ms / 1000) + self.delay_s)
            return
        self.totals.objects_read.append(math.ceil(attempt.run.events * METRICS / 25_000))  # pages of a metric's history
        self.totals.bytes_stored += attempt.run.events * METRICS * 140  # 1.5e9 points are 207 GB (clearml-server, issue 313)
        self.ended_runs += 1

    def finish(self, now: float) -> None:
        machines = math.ceil(self.workers / self.workers_each) + 1
        self.totals.services_dollars += machines * PRICES.server_hour * now / HOUR_S
        self.totals.are_billed = False
        self.totals.list_requests = math.ceil(self.ended_runs / 1000)
        self.totals.list_s = self.listed_s * self.ended_runs

    def _pass(self, now: float) -> None:
        away_s = sum(min(end, now) - max(begin, self._now) for begin, end in self._away.within(self._now, now))
        self._backlog = max(0.0, self._backlog + self._rate * (now - self._now) - self._served * (now - self._now - away_s))
        self._now = now


@dataclass(frozen=True)
class _Load:
    """What a build reads of a run that goes on, on average."""

    at: float = 0.0
    gets: float = 0.0
    events: float = 0.0


class _Marks:
    """The marks of news of today and yesterday, by which a build knows where to look: one for each attempt and day."""

    def __init__(self) -> None:
        self._day = 0
        self._counts = 0, 0
        self._numbers: tuple[set[int], set[int]] = set(), set()

    @property
    def count(self) -> int:
        """How many marks there are."""
        return sum(self._counts)

    @property
    def runs(self) -> int:
        """How many runs have one, or several."""
        return len(self._numbers[0] | self._numbers[1])

    def begin(self, now: float, number: int, running: Collection[int]) -> None:
        """Note that an attempt of a run begins."""
        self.turn(now, running)
        self._counts = self._counts[0], self._counts[1] + 1
        self._numbers[1].add(number)

    def turn(self, now: float, running: Collection[int]) -> None:
        """Let days begin: each run that goes on makes another mark."""
        while self._day < now // DAY_S:
            self._day += 1
            self._counts = self._counts[1], len(running)
            self._numbers = self._numbers[1], set(running)


class _Integral:
    """The sum of a rate over time since it was last asked for."""

    def __init__(self) -> None:
        self._rate = self._sum = self._now = 0.0

    def add(self, now: float, change: float) -> None:
        self._sum += self._rate * (now - self._now)
        self._rate, self._now = self._rate + change, now

    def taken(self, now: float) -> float:
        self.add(now, 0.0)
        total, self._sum = max(0.0, self._sum), 0.0
        return total


def _list_by_table(totals: Totals, costs: Costs, runs: int) -> None:
    """A list by a table of all runs: the log of the table, its files in parallel, and the query."""
    totals.list_requests = 15
    totals.list_s = 5 * costs.get_s(10_000) + costs.get_s(ROW_BYTES * runs / 8) + QUERY_S * runs / 1e6


def _list_by_files(totals: Totals, costs: Costs, runs: int) -> None:
    """A list without a table: the keys, then the meta of each run and the end of its log."""
    pages = math.ceil(2 * runs / 1000)
    totals.list_requests = pages + 2 * runs
    totals.list_s = pages * costs.list_s(1000) + 2 * runs * costs.get_s(4_000) / PARALLEL


def at_interval(costs: Costs, every_s: float) -> Segments:
    """mlv's design with another interval, for the ablations."""
    design = Segments(costs, every_s)
    design.title = f"every {every_s:g} s"
    return design
