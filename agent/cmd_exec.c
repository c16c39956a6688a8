#include "agent/cmd.h"
#include "agent/limits.h"
#include "agent/relay.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/random.h"

#include <stdio.h>
#include <stdlib.h>

static const char HELP[] =
    "Usage: relay-agent exec FILE|-\n\n"
    "Runs one payload, or one whole command, here and now, without a service but through the\n"
    "same code as `run`, and prints the answer as JSON. Exit status 0 means SUCCESS.\n\n"
    "Example:\n"
    "  echo '{\"method\":\"GET\",\"url\":\"http://127.0.0.1:8080/\"}' | relay-agent exec -\n";

struct execution {
	struct loop *loop;
	enum answer_status status;
	struct buf answer;
};

static void on_end(void *context, struct command *command)
{
	struct execution *execution = context;
	execution->status = command->answer.status;
	const struct buf *json = spool_memory(&command->answer.json); /* there is no folder */
	buf_append(&execution->answer, json->data, json->size);
	buf_append_char(&execution->answer, '\n');
	command_free(command);
	loop_stop(execution->loop);
}

/* A payload has a method or a URL of its own, a command has an action. */
static bool is_command(struct json_object *json)
{
	return json_member(json, "action") != NULL && json_member(json, "url") == NULL;
}

static int take(struct relay *relay, struct json_object *json, struct error *err)
{
	if (!is_command(json)) {
		relay_take_payload(relay, json_object_get(json));
		return 0;
	}
	if (json_member(json, "commandId") == NULL) {
		char id[UUID_TEXT_SIZE];
		random_uuid(id);
		json_set_text(json, "commandId", id);
	}
	struct problems problems = PROBLEMS_INIT;
	struct command *command = command_new(json, &problems, err);
	if (command != NULL)
		relay_take(relay, command, &problems);
	problems_release(&problems);
	return command != NULL ? 0 : err->code;
}

static int execute(const struct settings *settings, struct json_object *json,
		   struct execution *execution, struct error *err)
{
	struct http_client *client = NULL;
	struct relay *relay = NULL;
	int rc = ERR_SYSTEM;
	if ((execution->loop = loop_new(err)) == NULL)
		return rc;
	if ((client = http_client_new(execution->loop, settings->ca_file, 4, err)) == NULL ||
	    (relay = relay_new(execution->loop, client, settings, on_end, execution, err)) == NULL)
		goto out;
	rc = take(relay, json, err);
	if (rc == 0)
		loop_run(execution->loop);
out:
	relay_free(relay);
	http_client_free(client);
	loop_free(execution->loop);
	return rc;
}

int cmd_exec(int argc, char **argv)
{
	struct settings settings = {0};
	struct error err;
	struct buf text = BUF_INIT(LIMIT_FETCHED_BODY_BYTES);
	struct json_object *json = NULL;
	struct execution execution = {.answer = BUF_INIT(2048 * LIMIT_MIB)};
	if (cmd_wants_help(argc, argv, HELP, true))
		return 0;
	int rc = cmd_load_settings(&settings, NEED_NOTHING, &argc, argv);
	if (rc == 0)
		rc = cmd_check_operands(argc, argv, 1, 1);
	if (rc != 0)
		goto out;
	if (file_read(argv[1], &text, &err) != 0 ||
	    (json_parse_object(buf_str(&text), text.size, &json, &err) != 0 &&
	     error_prefix(&err, "%s", argv[1]) != 0) ||
	    execute(&settings, json, &execution, &err) != 0 ||
	    cmd_write(NULL, execution.answer.data, execution.answer.size, &err) != 0)
		rc = cmd_failed(&err);
	else
		rc = execution.status == ANSWER_SUCCESS ? EXIT_SUCCESS : EXIT_FAILURE;
out:
	json_object_put(json);
	buf_release(&execution.answer);
	buf_wipe(&text);
	settings_release(&settings);
	return rc;
}
