#include "agent/cmd.h"

#include <stdio.h>

static const char HELP[] =
    "Usage: relay-agent settings\n\n"
    "Lists every setting with its environment name, YAML path, flag, default and\n"
    "meaning, as a Markdown table.\n\n"
    "Example:\n"
    "  relay-agent settings > docs/settings.md\n";

int cmd_settings(int argc, char **argv)
{
	if (cmd_wants_help(argc, argv, HELP, false))
		return 0;
	int rc = cmd_check_operands(argc, argv, 0, 0);
	if (rc != 0)
		return rc;
	struct buf text = BUF_INIT(1024 * 1024);
	schema_markdown(settings_table, settings_count, "", &text);
	fputs(buf_str(&text), stdout);
	buf_release(&text);
	return 0;
}
