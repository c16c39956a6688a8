#include "agent/agent.h"
#include "agent/cmd.h"
#include "agent/loop.h"
#include "base/log.h"

#include <stdlib.h>

static const char HELP[] =
    "Usage: relay-agent [run] [--config FILE] [OPTION…]\n\n"
    "Polls the command service, makes the requests that its commands describe, and posts the\n"
    "answers, until SIGTERM or SIGINT.\n\n"
    "Example:\n"
    "  COMMAND_SERVICE_URL=https://commands.example.com AGENT_ID=lab-1 ORG_SLUG=acme \\\n"
    "  AUTH_TOKEN_FILE=/run/secrets/token SECURE_COMMAND_KEY_FILE=/run/secrets/key \\\n"
    "  relay-agent run\n";

int cmd_run(int argc, char **argv)
{
	struct settings settings = {0};
	struct error err;
	char name[] = "run"; /* also without a verb, where argv[0] is the program */
	argv[0] = name;
	if (cmd_wants_help(argc, argv, HELP, true))
		return 0;
	loop_block_stop_signals();
	int rc = cmd_load_settings(&settings, NEED_SERVICE, &argc, argv);
	if (rc == 0)
		rc = cmd_check_operands(argc, argv, 0, 0);
	if (rc == 0 && agent_run(&settings, &err) != 0) {
		log_error("relay-agent: %s", err.message);
		rc = EXIT_FAILURE;
	}
	settings_release(&settings);
	return rc;
}
