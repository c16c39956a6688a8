"""Trouble with the disk: full, read-only, damaged, or too small for what is to be kept."""

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from support.agents import Agent
from support.fake_service import wrong
from support.journals import STATES, Journal
from support.processes import PATIENCE, Process, Run, agent_command, clean_environment
from support.raw_target import Gate, answer, text
from support.requestors import PLAIN, V2, timestamp
from support.v2 import WithCryptography

KEY = bytes(range(32))

CAN_MOUNT = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0
needs_mount = pytest.mark.skipif(not CAN_MOUNT, reason="needs user namespaces, to mount a small disk")


def explanation(body):
    return json.loads(body["body"])


def next_life(agent, **settings):
    return Agent({**agent.settings, **settings}).start()


# -- a disk that takes nothing --------------------------------------------------------

def run_on_disk(site, tmp_path, options, prepare=":", **settings):
    """`relay-agent run` with its STATE_DIR on a file system of its own."""
    agent = site.pair(STATE_DIR=tmp_path / "disk", **settings).agent
    (tmp_path / "disk").mkdir()
    script = f'mount -t tmpfs -o {options} disk "$0" && {prepare}; exec "$@"'
    run = subprocess.run(["unshare", "-rm", "sh", "-c", script, str(tmp_path / "disk"),
                          *agent_command("run")],
                         env=clean_environment(agent.settings), capture_output=True, text=True,
                         timeout=60, check=False)
    return run


@needs_mount
def test_a_full_disk_stops_the_start_with_a_clear_message(site, tmp_path):
    run = run_on_disk(site, tmp_path, "size=1m",
                      'dd if=/dev/zero of="$0/filler" bs=4k 2>/dev/null')
    assert run.returncode == 1
    assert "STATE_DIR" in run.stderr and "No space left on device" in run.stderr, run.stderr
    assert run.stderr.count("\n") == 1, run.stderr


@needs_mount
def test_a_read_only_disk_stops_the_start_with_a_clear_message(site, tmp_path):
    run = run_on_disk(site, tmp_path, "size=1m", 'mount -o remount,ro "$0"')
    assert run.returncode == 1
    assert "STATE_DIR" in run.stderr and "Read-only file system" in run.stderr, run.stderr


@needs_mount
def test_a_disk_that_fills_up_loses_nothing_and_heals_by_itself(site, raw, tmp_path):
    """A real disk of 3 MB: answers that wait for the service fill it, then room is made."""
    pair = site.pair(STATE_DIR=tmp_path / "disk")
    (tmp_path / "disk").mkdir()
    script = ('mount -t tmpfs -o size=3m disk "$0" && "$@" & child=$!; '
              'trap "kill -TERM $child" TERM; wait; wait $child')
    # The mount is seen through the process that made it.
    process = Process(["unshare", "-rm", "sh", "-c", script, str(tmp_path / "disk"),
                       *agent_command("run")], env=clean_environment(pair.agent.settings))
    process.wait_for(lambda line: "connected" in line)
    disk = f"/proc/{process.popen.pid}/root{tmp_path}/disk"
    filler = open(f"{disk}/filler", "wb", buffering=0)
    with pytest.raises(OSError):
        while True:
            filler.write(b"x" * 4096)
    records = [pair.requestor.submit({"method": "POST", "url": url}) for url in
               [raw.url(text("done" * 5000)) for _ in range(5)]]
    process.wait_for(lambda line: "writing the journal fails" in line)
    filler.truncate(0)
    filler.close()
    ends = [pair.requestor.wait(record["id"]) for record in records]
    assert {end["status"] for end in ends} == {"SUCCESS"}
    process.wait_for(lambda line: "writing the journal works again" in line)
    process.signal(signal.SIGTERM)
    process.wait()


# -- a damaged database ---------------------------------------------------------------

PAGE = 8192  # of the journal's database


def flip(content, chooser):
    for _ in range(len(content) // 64):
        content[chooser.randrange(PAGE, len(content))] ^= 1 << chooser.randrange(8)


def cut(content, chooser):
    del content[len(content) * 2 // 3:]


def pages_of(content, table):
    """The numbers of those that have its rows. A page of the file may also be free, and what
    stands there nobody's."""
    alone = bytearray(content)
    alone[18:20] = b"\1\1"  # without a WAL
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(bytes(alone))
        return [row[0] for row in database.execute(
            "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY pageno",
            [table])]


def blot(content, chooser):
    """One page of several."""
    pages = pages_of(content, "answers")
    assert len(pages) > 2
    at = (pages[len(pages) // 2] - 1) * PAGE
    content[at:at + PAGE] = chooser.randbytes(PAGE)


def head(content, chooser):
    content[:PAGE] = chooser.randbytes(PAGE)


@pytest.mark.parametrize("damage", [flip, cut, blot, head])
def test_what_a_damaged_database_still_tells_is_saved_at_the_start(site, raw, damage):
    pair = site.start(POLL_WAIT_SECONDS=1)
    url = raw.url(text("x" * 1000))
    records = pair.requestor.send_all([{"method": "POST", "url": url}] * 40)
    pair.agent.stop()
    journal = Journal(pair.agent)
    known = journal.states()
    assert len(known) == 40
    content = bytearray(journal.database.read_bytes())
    damage(content, random.Random(7))
    journal.database.write_bytes(content)
    following = next_life(pair.agent)
    following.process.wait_for(lambda line: "set aside" in line)
    saved = journal.states()
    assert saved or damage in (cut, head)
    if damage is blot:
        assert len(saved) > 20, "most rows stand on other pages"
    assert bytes(content) in [path.read_bytes() for path in journal.set_aside()]
    assert pair.requestor.send({"method": "POST", "url": url})["status"] == "SUCCESS"
    following.stop()
    assert len(raw.requests(url)) == 41
    assert all(record["status"] == "SUCCESS" for record in records)


def damage_under_a_running_agent(journal, but=""):
    """Changes the database as another program, so that the agent reads it anew, then every page
    of it but the first, and that of one small table, as a bad disk would."""
    database = sqlite3.connect(journal.database, timeout=10, isolation_level=None)
    database.execute("CREATE TABLE other (x)")
    busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not busy
    kept = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (but,)).fetchone()
    with open(journal.database, "r+b") as file:
        for page in range(2, os.fstat(file.fileno()).st_size // PAGE + 1):
            if not kept or page != kept[0]:
                file.seek((page - 1) * PAGE)
                file.write(random.Random(page).randbytes(PAGE))
    database.close()


def test_a_running_agent_that_meets_damage_keeps_what_it_holds(site, raw):
    """One answer waits for its target, others in their line behind it; none is lost."""
    pair = site.start(MAX_IN_FLIGHT_PER_HOST=1)
    gate = Gate(answer(body=b"first"))
    url = raw.url(gate, text("later"))
    methods = ["POST", "GET", "PATCH", "POST"]
    records = [pair.requestor.submit({"method": method, "url": url}) for method in methods]
    raw.wait_for(url)
    journal = Journal(pair.agent)
    journal.wait_for("SELECT count(*) FROM commands", lambda rows: rows == [(4,)])
    damage_under_a_running_agent(journal)
    gate.open.set()
    ends = [pair.requestor.wait(record["id"]) for record in records]
    assert [end["responseBody"]["body"] for end in ends] == ["first"] + ["later"] * 3
    assert len(raw.requests(url)) == 4
    pair.agent.process.wait_for(lambda line: "set aside" in line)
    assert journal.set_aside()
    journal.wait_for_count("posted", 4)
    pair.agent.stop()


def test_an_answer_that_was_saved_and_is_still_in_memory_is_stored_once(fake, raw):
    """Its post is under way when another command meets the damage."""
    agent = Agent(fake.settings()).start()
    journal = Journal(agent)
    url = raw.url(text("once"), text("other"))
    is_released = threading.Event()

    def take_late(handler):
        body = fake.calls_to("status")[0].body
        assert is_released.wait(PATIENCE)
        handler.reply(200, json.dumps(fake.take(body)).encode())
    fake.status_faults.append(take_late)
    first = fake.give({"method": "POST", "url": url})
    journal.wait_for_state(first, "done")
    damage_under_a_running_agent(journal, but="answers")
    second = fake.give({"method": "PUT", "url": url})
    agent.process.wait_for(lambda line: "set aside" in line)
    journal.wait_for("SELECT count(*) FROM answers", lambda rows: rows == [(2,)])
    is_released.set()
    assert fake.wait_end(first)["body"]["body"] == "once"
    assert fake.wait_end(second)["body"]["body"] == "other"
    journal.wait_for_count("posted", 2)
    agent.stop()


@pytest.mark.parametrize("size", [10, 400000, 3000000])
@pytest.mark.parametrize("is_sealed", [False, True], ids=["plain", "sealed"])
def test_what_was_held_when_the_database_was_damaged_survives_a_kill_too(site, raw, size, is_sealed):
    """A large one has its text in a file, and nothing in memory from which it could be made again."""
    pair = site.start(MAX_IN_FLIGHT_PER_HOST=1, SECURE_COMMAND_KEY=KEY.hex())
    url = raw.url(Gate(answer(body=b"late")), text("second"))
    payload = {"method": "PUT", "url": url,
               "body": {"mode": "raw", "raw": {"big": 2 ** 70, "more": "m" * size}}}
    first = (pair.requestor.submit(WithCryptography.encrypt(KEY, payload), V2) if is_sealed
             else pair.requestor.submit(payload))
    raw.wait_for(url)
    behind = pair.requestor.submit({"method": "POST", "url": url})
    journal = Journal(pair.agent)
    journal.wait_for_state(behind["id"], "received")
    damage_under_a_running_agent(journal)
    other = pair.requestor.send({"method": "GET", "url": raw.url(text("x")).replace(
        "127.0.0.1", "localhost")})
    assert other["status"] == "SUCCESS"
    assert journal.state_of(first["id"]) == "executing"
    assert journal.state_of(behind["id"]) == "received"
    pair.agent.kill()
    following = next_life(pair.agent)
    end = pair.requestor.wait(first["id"])
    told = pair.requestor.stored_answer(end)
    if is_sealed:
        told = WithCryptography.decrypt(KEY, told)
    assert told["body"] == "second"
    assert pair.requestor.wait(behind["id"])["status"] == "SUCCESS"
    bodies = [request.body for request in raw.requests(url)]
    assert sorted(bodies) == [b"", bodies[0], bodies[0]] and str(2 ** 70).encode() in bodies[0]
    following.stop()


def change(journal, sql, *values):
    """As a bad disk would, where SQLite does not see it."""
    with sqlite3.connect(journal.database) as database:
        assert database.execute(sql, values).rowcount == 1
    database.close()


# What is changed is in one row of `texts`, with what came at the same time.
CHANGE_TEXT = """
    UPDATE texts SET texts = CAST(
        substr(texts, 1, text_at) || replace(substr(texts, text_at + 1, text_size), ?, ?)
        || substr(texts, text_at + text_size + 1) AS BLOB)
    FROM commands WHERE text_row = number AND id = ?
"""


def test_a_command_that_the_disk_changed_is_not_executed(site, raw):
    """One that waited, and one under way: each source hears of it, the others go on."""
    pair = site.start(MAX_IN_FLIGHT_PER_HOST=1)
    url = raw.url(Gate(answer()), text("second"))
    other = raw.url(text("sound"))
    running, waiting, sound = [pair.requestor.submit({"method": "PUT", "url": target})
                               for target in (url, url, url)]
    raw.wait_for(url)
    journal = Journal(pair.agent)
    for record, state in ((running, "executing"), (waiting, "received"), (sound, "received")):
        journal.wait_for_state(record["id"], state)
    pair.agent.kill()
    for record in (running, waiting):
        change(journal, CHANGE_TEXT, url, other, record["id"])
    following = next_life(pair.agent)
    for record, words in ((running, "is not known"), (waiting, "was not made")):
        end = pair.requestor.wait(record["id"])
        told = explanation(end["responseBody"])
        assert (end["status"], told["code"]) == ("FAILURE", "INTERRUPTED"), end
        assert "damaged on the disk" in told["message"] and words in told["message"]
        following.process.wait_for(lambda line, record=record: "changed by the disk" in line
                                   and record["id"] in line)
    assert pair.requestor.wait(sound["id"])["responseBody"]["body"] == "second"
    assert len(raw.requests(url)) == 2 and not raw.requests(other)
    following.stop()


def texts(journal):
    return sorted((journal.folder / "answers").glob("*.command"))


def test_texts_go_with_the_last_command_that_needs_them(site, raw):
    """Commands that come together share a row; one that is longer has one to itself."""
    pair = site.pair()
    url = raw.url(text("done"))
    held = raw.url(Gate(answer()), Gate(answer()), text("second"))
    long = {"method": "PUT", "url": held, "body": {"mode": "raw", "raw": "long " * 2000}}
    waiting = [pair.requestor.submit(payload)["id"]
               for payload in (long, {"method": "PUT", "url": held})]
    quick = [pair.requestor.submit({"method": "PUT", "url": url})["id"] for _ in range(4)]
    pair.agent.start()
    raw.wait_for(held, 2)
    journal = Journal(pair.agent)
    for command_id in quick:
        journal.wait_for_state(command_id, "posted")
    rows = dict(journal.query("SELECT id, text_row FROM commands"))
    sizes = dict(journal.query("SELECT number, length(texts) FROM texts"))
    assert set(rows) == set(waiting) and set(rows.values()) == set(sizes), "and no other is left"
    assert len(sizes) == 2 and 10000 < sizes[rows[waiting[0]]] < 11000
    pair.agent.kill()
    following = next_life(pair.agent)
    for command_id in waiting:
        assert pair.requestor.wait(command_id)["responseBody"]["body"] == "second"
    journal.wait_for_count("posted", 6)
    assert not journal.query("SELECT * FROM texts")
    following.stop()


def test_texts_that_an_agent_left_behind_go_at_the_next_start(fake, raw):
    agent = Agent(fake.settings()).start()
    gate = Gate(answer())
    url = raw.url(gate)
    command_id = fake.give({"method": "PUT", "url": url})
    raw.wait_for(url)
    fake.go_away()
    gate.open.set()
    journal = Journal(agent)
    journal.wait_for_state(command_id, "done")
    agent.kill()
    assert len(journal.query("SELECT * FROM texts")) == 1, "it was not needed any more"
    fake.come_back()
    following = next_life(agent)
    fake.wait_end(command_id)
    journal.wait_for_count("posted", 1)
    assert not journal.query("SELECT * FROM texts")
    following.stop()


def done_and_waiting(fake, raw, body):
    """A dead agent whose one command has an answer that the service has not got."""
    agent = Agent(fake.settings()).start()
    gate = Gate(answer(body=b"once"))
    url = raw.url(gate)
    command_id = fake.give({"method": "PUT", "url": url, "body": {"mode": "raw", "raw": body}})
    raw.wait_for(url)
    fake.go_away()
    gate.open.set()
    Journal(agent).wait_for_state(command_id, "done")
    agent.kill()
    return agent, command_id, url


def test_an_answer_that_waits_does_not_count_its_command_s_file(fake, raw):
    agent, command_id, _ = done_and_waiting(fake, raw, "large " * 100000)
    journal = Journal(agent)
    assert journal.query("SELECT command_file, text_size FROM commands") == [(None, 0)]
    fake.come_back()
    following = next_life(agent)
    assert fake.wait_end(command_id)["body"]["body"] == "once"
    following.stop()


def test_an_agent_that_dies_between_the_slices_forgets_nothing_of_a_command(fake, raw):
    """It is in posted already and in commands still, and what is posted may be forgotten."""
    agent, command_id, url = done_and_waiting(fake, raw, "small")
    change(Journal(agent), "INSERT INTO posted (id_key, id, posted_at, status, ended_at,"
           " http_status, answer_size, answer) SELECT 1, id, 1, status, ended_at, http_status,"
           " answer_size, number FROM answers WHERE id = ?", command_id)
    fake.come_back()
    following = next_life(agent, DEDUPE_HOURS=0)
    assert fake.wait_end(command_id)["body"]["body"] == "once"
    assert len(raw.requests(url)) == 1
    following.stop()


def test_a_great_many_are_marked_as_posted_in_slices(fake, fake_agent, raw):
    agent = fake_agent(MAX_IN_FLIGHT=2000, MAX_IN_FLIGHT_PER_HOST=500)
    url = raw.url(text("done"))
    ids = [fake.give({"method": "POST", "url": url}) for _ in range(1300)]
    fake.wait_for(lambda: {update["commandId"] for update in fake.updates} >= set(ids))
    journal = Journal(agent)
    journal.wait_for_count("posted", 1300)
    assert sorted(row[0] for row in journal.query("SELECT id FROM posted")) == sorted(ids)
    for table in ("commands", "executing", "texts"):
        assert not journal.query(f"SELECT * FROM {table}")
    before = len(fake.updates)
    fake.give({"method": "POST", "url": url}, commandId=ids[700])
    fake.wait_for(lambda: len(fake.updates) > before)
    assert len(raw.requests(url)) == 1300
    agent.stop()


def test_all_that_was_posted_in_an_earlier_life_is_known_in_the_next(fake, fake_agent, raw):
    """At once, and when the next life has read their keys, which it does a thousand at a time."""
    agent = fake_agent(MAX_IN_FLIGHT=2000, MAX_IN_FLIGHT_PER_HOST=500)
    payload = {"method": "POST", "url": raw.url(text("done"))}
    ids = [fake.give(payload) for _ in range(2500)]
    fake.wait_for(lambda: {update["commandId"] for update in fake.updates} >= set(ids))
    agent.stop()
    following = next_life(agent)
    answers = len(fake.updates)
    fake.give(payload, commandId=ids[7])
    fake.wait_for(lambda: len(fake.updates) == answers + 1)
    fake.wait_end(fake.give(payload))  # a new one, with which the reading begins
    answers = len(fake.updates)
    for command_id in ids:
        fake.give(payload, commandId=command_id)
    fake.wait_for(lambda: len(fake.updates) == answers + 2500)
    assert len(raw.requests(payload["url"])) == 2501
    following.stop()


@pytest.mark.parametrize("is_changed", [False, True], ids=["sound", "changed by the disk"])
def test_a_large_command_is_a_file_until_it_has_ended(fake, raw, is_changed):
    """It outlives the agent, and goes with its answer, or at the next start."""
    agent = Agent(fake.settings()).start()
    url = raw.url(Gate(answer()), text("second"))
    payload = {"method": "PUT", "url": url, "body": {"mode": "raw", "raw": "large " * 100000}}
    command_id = fake.give(payload)
    raw.wait_for(url)
    journal = Journal(agent)
    assert journal.state_of(command_id) == "executing"
    [file] = texts(journal)
    assert 600000 < file.stat().st_size < 601000 and file.stat().st_mode & 0o077 == 0
    assert used(journal) > 600000 and journal.listing()[command_id][3] == str(file.stat().st_size)
    agent.kill()
    if is_changed:
        content = bytearray(file.read_bytes())
        content[300000] ^= 1
        file.write_bytes(content)
    left = file.with_name("0" * 64 + ".command")
    left.write_text("of a command that had ended when its agent died")
    following = next_life(agent)
    end = fake.wait_end(command_id)
    if is_changed:
        assert explanation(end["body"])["code"] == "INTERRUPTED" and len(raw.requests(url)) == 1
    else:
        assert end["body"]["body"] == "second"
        first, second = raw.requests(url)
        assert first.body == second.body and len(first.body) == 600000
    journal.wait_for_state(command_id, "posted")
    assert not texts(journal)
    following.stop()


def test_files_that_nobody_names_go_at_the_next_start_but_not_beside_a_damaged_journal(fake, raw):
    agent = Agent(fake.settings()).start()
    payload = {"method": "GET", "url": raw.url(text("x" * 300000))}
    command_id = fake.give(payload)
    assert fake.wait_end(command_id)["status"] == "SUCCESS"
    journal = Journal(agent)
    journal.wait_for_state(command_id, "posted")
    agent.stop()
    folder = journal.folder / "answers"
    [kept] = folder.iterdir()
    left = [folder / ("0" * 64), folder / ("1" * 64 + ".command")]
    foreign = folder / "notes"
    for file in [*left, foreign]:
        file.write_text("nobody's")
    damaged = journal.folder / "journal.db.damaged-1"
    damaged.write_text("what these files may belong to")
    following = next_life(agent)
    following.process.wait_for(lambda line: "polls" in line)
    assert sorted(folder.iterdir()) == sorted([kept, foreign, *left])
    following.stop()
    damaged.unlink()
    following = next_life(agent)
    following.process.wait_for(lambda line: "polls" in line)
    assert sorted(folder.iterdir()) == sorted([kept, foreign])
    answers = len(fake.updates)
    fake.give(payload, commandId=command_id)
    fake.wait_for(lambda: len(fake.updates) == answers + 1)
    assert len(fake.updates[-1]["body"]["body"]) == 300000
    following.stop()


def test_an_answer_of_an_earlier_life_is_not_taken_for_that_of_a_new_command(site, raw):
    """The rows of commands that ended are gone, and their numbers are given again."""
    pair = site.start()
    url = raw.url(*[text("old")] * 3, Gate(answer()), text("new"))
    for _ in range(3):
        assert pair.requestor.send({"method": "PUT", "url": url})["status"] == "SUCCESS"
    pair.agent.stop()
    second = next_life(pair.agent)
    record = pair.requestor.submit({"method": "PUT", "url": url})
    raw.wait_for(url, 4)
    assert Journal(second).state_of(record["id"]) == "executing"
    second.kill()
    third = next_life(pair.agent)
    assert pair.requestor.wait(record["id"])["responseBody"]["body"] == "new"
    third.stop()


VERSION_0 = """
    CREATE TABLE commands (
        seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state INTEGER NOT NULL, command BLOB,
        receipt TEXT, attempt INTEGER NOT NULL, upload_url TEXT, expires_at INTEGER NOT NULL,
        received_at INTEGER NOT NULL, status INTEGER, ended_at INTEGER, posted_at INTEGER,
        answer BLOB, answer_file TEXT, answer_size INTEGER{});
    CREATE INDEX commands_open ON commands (seq) WHERE posted_at IS NULL;
    CREATE INDEX commands_posted ON commands (posted_at) WHERE posted_at IS NOT NULL;
"""


@pytest.mark.parametrize("late_column", ["", ", http_status INTEGER"], ids=["oldest", "older"])
def test_a_journal_of_an_earlier_version_goes_on(fake, fake_agent, raw, tmp_path, late_column):
    """One command in each state; none is lost, and none is executed again unasked."""
    now_ms = int(time.time() * 1000)
    url = raw.url(text("executed"))

    def row(command_id, state, method=None, stored=None, posted_at=None):
        command = method and json.dumps({
            "commandId": command_id, "targetId": fake.agent_id, "action": PLAIN,
            "createdAt": timestamp(), "expiresAt": timestamp(600),
            "body": {"method": method, "url": url}, "bodyDelivery": "embedded"}).encode()
        stored = stored and json.dumps({"body": stored, "statusCode": 200}).encode()
        return (command_id, state, command, now_ms + 600000, now_ms, 0, now_ms, posted_at, stored,
                stored and len(stored))

    with sqlite3.connect(tmp_path / "journal.db") as database:
        database.executescript(VERSION_0.format(late_column))
        database.executemany(
            "INSERT INTO commands (id, state, command, attempt, expires_at, received_at, status,"
            " ended_at, posted_at, answer, answer_size) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?)",
            [row("posted", 4, stored="of old", posted_at=now_ms), row("done", 3, stored="waits"),
             row("executing", 2, "POST"), row("received", 1, "POST")])
    database.close()
    agent = fake_agent(STATE_DIR=tmp_path)
    ends = {command_id: fake.wait_end(command_id) for command_id in ("done", "executing", "received")}
    assert ends["done"]["body"]["body"] == "waits"
    assert explanation(ends["executing"]["body"])["code"] == "INTERRUPTED"
    assert ends["received"]["body"]["body"] == "executed" and len(raw.requests(url)) == 1
    fake.give({"method": "POST", "url": url}, commandId="posted")
    assert fake.wait_end("posted")["body"]["body"] == "of old" and len(raw.requests(url)) == 1
    agent.process.wait_for(lambda line: "was converted" in line)
    Journal(agent).wait_for_count("posted", 4)
    agent.stop()


def test_a_journal_of_another_version_stops_the_start_with_a_clear_message(site, raw):
    pair = site.start()
    assert pair.requestor.send({"method": "GET", "url": raw.url(text("x"))})["status"] == "SUCCESS"
    pair.agent.stop()
    journal = Journal(pair.agent)
    with sqlite3.connect(journal.database) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = journal.database.read_bytes()
    run = Run(["run"], env=pair.agent.settings)
    assert run.code == 1 and "journal version 99" in run.err and str(journal.database) in run.err
    assert "let that version post what waits" in run.err and run.err.count("\n") == 1, run.err
    assert journal.database.read_bytes() == before


def test_an_agent_that_never_reaches_its_service_stops_cleanly_with_answers_that_wait(fake, raw):
    """Its transport is not known then; the sanitizers see whether anything is left behind."""
    fake.status_faults[:] = [wrong(503)] * 100
    agent = Agent(fake.settings(DRAIN_SECONDS=1, POLL_WAIT_SECONDS=1)).start()
    command_id = fake.give({"method": "GET", "url": raw.url(text("done"))})
    journal = Journal(agent)
    journal.wait_for_state(command_id, "done")
    agent.stop()
    fake.go_away()
    following = next_life(agent, TRANSPORT="auto", DRAIN_SECONDS=0)
    following.process.wait_for(lambda line: "1 commands of the journal go on" in line)
    following.stop()
    assert journal.state_of(command_id) == "done"


def test_single_commands_soon_write_over_what_the_wal_has(fake, fake_agent, raw):
    """What makes its file grow is more for the disk to do in each of their syncs."""
    agent = fake_agent()
    payload = {"method": "POST", "url": raw.url(text("done"))}
    for _ in range(150):  # each of at least three pages
        assert fake.send(payload)["status"] == "SUCCESS"
    assert (Journal(agent).folder / "journal.db-wal").stat().st_size < 300 * (PAGE + 24)
    agent.stop()


# -- a limit --------------------------------------------------------------------------

TIDY_SECONDS = 60  # the agent's


def used(journal):
    pages = [journal.query(f"PRAGMA {what}")[0][0] for what in
             ("page_count", "freelist_count", "page_size")]
    files = 0
    for path in (journal.folder / "answers").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just gone
            files += path.stat().st_size
    return (pages[0] - pages[1]) * pages[2] + files


@pytest.mark.parametrize("size", [30000, 300000])
def test_the_oldest_posted_answers_go_first_when_the_journal_is_full(fake, fake_agent, raw, size):
    agent = fake_agent(JOURNAL_MAX_MB=1)
    url = raw.url(text("x" * size))
    count = 3000000 // size
    payload = {"method": "POST", "url": url}
    ids = [fake.give(payload) for _ in range(count)]
    for command_id in ids:
        fake.wait_end(command_id)
    journal = Journal(agent)
    journal.wait_for_count("posted", count)
    # Room is made when what needs it has been written, and not only by the minute's tidying.
    kept = [row[0] for row in journal.wait_for(
        "SELECT EXISTS (SELECT 1 FROM answers a WHERE a.number = p.answer) FROM posted p"
        " ORDER BY p.answer", lambda rows: rows[0][0] == 0 and used(journal) <= 1010000,
        timeout=TIDY_SECONDS / 2)]
    assert kept == sorted(kept) and kept[-1] == 1, "the oldest go first"

    def delivered_again(command_id):
        before = len(fake.updates)
        fake.give(payload, commandId=command_id)
        fake.wait_for(lambda: len(fake.updates) > before)
        return fake.updates[-1]

    by_age = [row[0] for row in journal.query("SELECT id FROM posted ORDER BY answer")]
    old, new = delivered_again(by_age[0]), delivered_again(by_age[-1])
    assert old["status"] == "SUCCESS" and "no longer stored" in explanation(old["body"])["message"]
    assert new["body"]["body"] == "x" * size
    assert len(raw.requests(url)) == count
    agent.stop()
    assert agent.log.count("no new command is taken") <= 1, "it is full again and again"


def test_answers_that_wait_are_kept_and_no_new_command_is_taken_at_the_limit(fake, fake_agent, raw):
    fake.status_faults[:] = [wrong(503)] * 1000
    agent = fake_agent(JOURNAL_MAX_MB=1, MAX_IN_FLIGHT=2)  # so that it does not take all at once
    url = raw.url(text("x" * 200000))
    ids = [fake.give({"method": "POST", "url": url}) for _ in range(12)]
    agent.process.wait_for(lambda line: "no new command is taken" in line)
    taken = len(raw.requests(url))
    assert 4 <= taken < 12
    fake.status_faults[:] = []
    for command_id in ids:
        assert fake.wait_end(command_id)["body"]["body"] == "x" * 200000
    agent.process.wait_for(lambda line: "the journal has room again" in line)
    assert len(raw.requests(url)) == 12
    agent.stop()


def test_a_journal_that_is_full_at_the_start_is_emptied_by_posting(fake, fake_agent, raw):
    """Also where the agent has yet to ask what kind of source it has (TRANSPORT=auto)."""
    fake.status_faults[:] = [wrong(503)] * 1000
    agent = fake_agent(JOURNAL_MAX_MB=1, MAX_IN_FLIGHT=2)
    url = raw.url(text("x" * 200000))
    for _ in range(12):
        fake.give({"method": "POST", "url": url})
    agent.process.wait_for(lambda line: "no new command is taken" in line)
    journal = Journal(agent)
    journal.wait_for(STATES, lambda rows: {state for _, state in rows} == {"done"})
    waiting = journal.states()
    agent.kill()
    fake.status_faults[:] = []
    following = next_life(agent)
    for command_id in waiting:
        assert fake.wait_end(command_id)["body"]["body"] == "x" * 200000
    following.process.wait_for(lambda line: "the journal has room again" in line)
    later = fake.give({"method": "GET", "url": raw.url(text("later"))})
    assert fake.wait_end(later)["body"]["body"] == "later"
    following.stop()


def test_commands_that_ended_do_not_fill_the_journal_for_ever(fake, fake_agent, raw):
    """Rows without answers: the oldest are forgotten before DEDUPE_HOURS, with a warning."""
    agent = fake_agent(JOURNAL_MAX_MB=1)
    payload = {"method": "GET", "url": raw.url(text("done"))}
    fake.wait_end(fake.give(payload))
    agent.stop()
    journal = Journal(agent)
    now_ms = int(time.time() * 1000)
    with sqlite3.connect(journal.database) as database:
        database.executemany(
            "INSERT INTO posted (id_key, id, posted_at, status, ended_at, http_status, answer_size)"
            " VALUES (?, ?, ?, 0, 0, 200, 0)",
            [(number, f"{number:036}", now_ms - 3600000 + number) for number in range(20000)])
    following = next_life(agent)
    following.process.wait_for(lambda line: "too small for what ended within DEDUPE_HOURS" in line)
    following.process.wait_for(lambda line: "connected" in line)
    kept = [row[0] for row in journal.query("SELECT id FROM posted WHERE id LIKE '0000%'")]
    assert 0 < len(kept) < 20000 and f"{19999:036}" in kept and f"{0:036}" not in kept
    assert fake.send(payload)["status"] == "SUCCESS", "commands are taken"
    following.stop()


def test_a_command_is_forgotten_after_dedupe_hours(fake, fake_agent, raw):
    agent = fake_agent(DEDUPE_HOURS=1)
    url = raw.url(text("done"))
    command_id = fake.give({"method": "GET", "url": url})
    fake.wait_end(command_id)
    journal = Journal(agent)
    journal.wait_for_state(command_id, "posted")
    agent.stop()
    for age, is_kept in ((3500, True), (3700, False)):
        with sqlite3.connect(journal.database) as database:
            database.execute("UPDATE posted SET posted_at = posted_at - ? * 1000", [age])
        following = next_life(agent)
        following.process.wait_for(lambda line: "polls" in line)
        assert (journal.state_of(command_id) == "posted") == is_kept
        following.stop()
        with sqlite3.connect(journal.database) as database:
            database.execute("UPDATE posted SET posted_at = posted_at + ? * 1000", [age])


def test_an_answer_that_nobody_took_is_given_up_after_the_retention(fake, raw):
    """RESULT_RETENTION_HOURS after expiresAt: an error in the log, and it is off the list."""
    fake.status_faults[:] = [wrong(503)] * 100
    agent = Agent(fake.settings(RESULT_RETENTION_HOURS=1, DRAIN_SECONDS=1,
                                POLL_WAIT_SECONDS=1)).start()
    ids = [fake.give({"method": "GET", "url": raw.url(text("done"))}) for _ in range(2)]
    journal = Journal(agent)
    for command_id in ids:
        journal.wait_for_state(command_id, "done")
    agent.stop()
    with sqlite3.connect(journal.database) as database:
        database.execute("UPDATE commands SET expires_at = expires_at - 3600000 * 2 WHERE id = ?",
                         [ids[0]])
    following = next_life(agent)
    following.process.wait_for(lambda line: ids[0] in line and "given up" in line)
    journal.wait_for_state(ids[0], "posted")
    assert list(journal.listing()) == [ids[1]]
    following.stop()
    assert Run(["journal", "--state-dir", journal.folder]).code == 0


# -- the list -------------------------------------------------------------------------

def test_the_list_tells_age_size_and_state_of_a_running_agent(fake, fake_agent, raw):
    fake.status_faults[:] = [wrong(503)] * 100
    agent = fake_agent(MAX_IN_FLIGHT_PER_HOST=1, DRAIN_SECONDS=1)
    ended = fake.give({"method": "GET", "url": raw.url(text("x" * 5000))})
    journal = Journal(agent)
    journal.wait_for_state(ended, "done")
    gate = Gate(answer())
    url = raw.url(gate)
    running = fake.give({"method": "POST", "url": url})
    raw.wait_for(url)
    waiting = fake.give({"method": "POST", "url": url})
    journal.wait_for_state(waiting, "received")
    listed = journal.listing()
    assert {key: row[:2] for key, row in listed.items()} == {
        ended: ["done", "SUCCESS"], running: ["executing", "-"], waiting: ["received", "-"]}
    assert 5000 <= int(listed[ended][3]) < 5500 and 0 <= int(listed[ended][2]) < 60
    assert int(listed[running][3]) > 100
    gate.open.set()
    agent.process.popen.send_signal(signal.SIGTERM)
    agent.process.wait()


@pytest.mark.parametrize("what", ["nothing there", "no database", "an empty file", "a folder"])
def test_the_list_of_an_odd_folder_is_a_message_not_a_crash(tmp_path, what):
    database = tmp_path / "journal.db"
    if what == "no database":
        database.write_bytes(b"this is no database" * 500)
    elif what == "an empty file":
        database.write_bytes(b"")
    elif what == "a folder":
        database.mkdir()
    run = Run(["journal", "--state-dir", tmp_path])
    assert run.code == 1 and str(database) in run.err and run.err.count("\n") == 1, run.all
