#include "agent/cmd.h"

#include <stdio.h>

static const char HELP[] = "Usage: relay-agent version\n\n"
			   "Prints the program's name and version.\n\n"
			   "Example:\n"
			   "  relay-agent version\n";

int cmd_version(int argc, char **argv)
{
	if (cmd_wants_help(argc, argv, HELP, false))
		return 0;
	int rc = cmd_check_operands(argc, argv, 0, 0);
	if (rc == 0)
		puts("relay-agent " VERSION);
	return rc;
}
