/* One message of the command queue, as ReceiveMessage brings it. */
#ifndef AGENT_TDP_MESSAGE_H
#define AGENT_TDP_MESSAGE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

#include <json-c/json.h>

struct tdp_message {
	const char *id;      /* "" where it has none */
	const char *receipt; /* NULL: none, it cannot be deleted */
	int attempt;         /* from 1 */
	struct json_object *command;
	struct json_span text; /* the command's, as it came */
	struct error problem;  /* of command_read_text: code 0, or why there is not all of it */
};

/* Texts are borrowed from json; the caller puts command. Anything that is no JSON object with
 * a commandId is ERR_INVALID, with what is wrong; id and receipt are filled all the same. */
NODISCARD int tdp_message_read(struct tdp_message *message, struct json_object *json,
			       struct error *err);

/* What a log line may show of text that is no command: its beginning, with everything that
 * could be a secret masked. */
void tdp_message_append_cut(struct buf *out, struct json_object *json);

#endif
