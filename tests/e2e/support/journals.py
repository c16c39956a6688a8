"""A look into an agent's journal, from outside and with the shell's tools."""

import contextlib
import pathlib
import sqlite3
import time

from support.processes import PATIENCE, Run

# id and state of every command that the journal knows.
STATES = """
    SELECT id, state FROM (
        SELECT c.seq, c.id, CASE WHEN a.number IS NOT NULL THEN 'done'
               WHEN c.state = 2 OR e.seq IS NOT NULL THEN 'executing' ELSE 'received' END AS state
        FROM commands c LEFT JOIN executing e ON e.seq = c.seq
        LEFT JOIN answers a ON a.seq = c.seq AND a.number > c.answers_before
        UNION ALL SELECT number, id, 'posted' FROM posted)
"""


class Journal:
    def __init__(self, agent):
        self.folder = pathlib.Path(agent.settings["STATE_DIR"])
        self.database = self.folder / "journal.db"

    def query(self, sql, *values):
        """Rows, read as another program would: the agent may be running."""
        with sqlite3.connect(self.database, timeout=10) as database:
            database.text_factory = lambda text: text.decode(errors="replace")  # may be damaged
            rows = database.execute(sql, values).fetchall()
        database.close()
        return rows

    def states(self):
        """{command id: state} of all rows."""
        return dict(self.query(STATES))

    def state_of(self, command_id):
        return self.states().get(command_id)

    def wait_for(self, sql, predicate, timeout=PATIENCE):
        """The rows, once they are as hoped."""
        deadline = time.monotonic() + timeout
        while True:
            rows = None
            with contextlib.suppress(sqlite3.OperationalError):  # it is being made
                rows = self.query(sql)
            if rows is not None and predicate(rows):
                return rows
            assert time.monotonic() < deadline, rows
            time.sleep(0.02)

    def wait_for_state(self, command_id, state):
        self.wait_for(STATES, lambda rows: (command_id, state) in rows)

    def wait_for_count(self, state, count):
        """Until so many commands are in that state, and none in another."""
        self.wait_for(STATES, lambda rows: [row[1] for row in rows] == [state] * count)

    def listing(self):
        """What `relay-agent journal` prints, as {id: its other columns}."""
        out = Run(["journal", "--state-dir", self.folder]).out
        rows = [line.split() for line in out.splitlines()[1:]]
        return {row[0]: row[1:] for row in rows}

    def set_aside(self):
        return sorted(path for path in self.folder.iterdir() if ".damaged-" in path.name)
