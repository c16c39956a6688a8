#include "agent/cmd.h"
#include "agent/journal.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

static const char HELP[] =
    "Usage: relay-agent journal [--state-dir DIR]\n\n"
    "Lists the commands in the journal whose answer the source does not have yet: received,\n"
    "executing, or done and waiting to be posted; with age and size. The agent may be running.\n\n"
    "Example:\n"
    "  relay-agent journal --state-dir /var/lib/relay-agent\n";

static void print_row(void *context, const struct journal_row *row)
{
	size_t *count = context;
	bool is_done = row->state == COMMAND_DONE;
	const char *state = is_done                           ? "done"
			    : row->state == COMMAND_EXECUTING ? "executing"
							      : "received";
	if ((*count)++ == 0)
		printf("%-36s  %-9s  %-8s  %8s  %12s  %s\n", "command", "state", "status", "age s",
		       "bytes", "attempt");
	printf("%-36s  %-9s  %-8s  %8" PRId64 "  %12zu  %d\n", row->id, state,
	       is_done ? answer_status_name(row->status) : "-",
	       (clock_now_ms() - row->received_at_ms) / 1000,
	       is_done ? row->answer_size : row->text_size, row->attempt);
}

int cmd_journal(int argc, char **argv)
{
	struct settings settings = {0};
	struct error err;
	size_t count = 0;
	if (cmd_wants_help(argc, argv, HELP, false))
		return 0;
	int rc = cmd_load_settings(&settings, NEED_NOTHING, &argc, argv);
	if (rc == 0)
		rc = cmd_check_operands(argc, argv, 0, 0);
	if (rc == 0 && journal_list(settings.state_dir, print_row, &count, &err) != 0)
		rc = cmd_failed(&err);
	else if (rc == 0 && count == 0)
		puts("nothing waits");
	settings_release(&settings);
	return rc;
}
