#include "agent/command.h"

#include "agent/limits.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool command_kind_of(const char *action, enum command_kind *kind)
{
	static const struct {
		const char *action;
		enum command_kind kind;
	} known[] = {
	    {"TetraScience.Connector.gdc.HttpRequest", COMMAND_LEGACY},
	    {"TetraScience.Connector.http.Request", COMMAND_PLAIN},
	    {"TetraScience.Connector.http.Request.V2", COMMAND_SEALED},
	};
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (strcmp(action, known[i].action) == 0) {
			*kind = known[i].kind;
			return true;
		}
	}
	return false;
}

/* A member that may be absent; NULL also where it is wrong, which is a problem then. */
static char *optional_text(struct json_object *json, const char *key, struct problems *problems)
{
	const char *text = NULL;
	struct error err;
	int rc = json_get_text(json, key, &text, &err);
	if (rc != 0 && rc != ERR_NOT_FOUND)
		problems_add(problems, "%s", err.message);
	return text != NULL ? mem_strdup(text) : NULL;
}

static void parse_time(const char *key, const char *text, int64_t *time_ms,
		       struct problems *problems)
{
	struct error err;
	if (text != NULL && clock_parse(text, time_ms, &err) != 0)
		problems_add(problems, "%s: %s", key, err.message);
}

static void parse_delivery(struct json_object *json, struct command *command,
			   struct problems *problems)
{
	char *delivery = optional_text(json, "bodyDelivery", problems);
	bool is_referenced = delivery != NULL && strcmp(delivery, "referenced") == 0;
	if (is_referenced) {
		command->body_url = optional_text(json, "bodyUrl", problems);
		if (command->body_url == NULL)
			problems_add(problems,
				     "bodyUrl: missing, though bodyDelivery is \"referenced\"");
	} else if (delivery != NULL && strcmp(delivery, "embedded") != 0) {
		problems_add(problems, "bodyDelivery: \"%s\" is not one of embedded, referenced",
			     delivery);
	}
	free(delivery);
}

static int parse_limited(const char *text, size_t size, struct json_object **json,
			 struct error *err)
{
	struct json_object *value = NULL;
	struct json_parser *parser = json_parser_new(text, size, NULL);
	json_parser_limit(parser, LIMIT_PARSED_BYTES);
	int rc = json_parser_step(parser, SIZE_MAX, &value, err);
	json_parser_free(parser);
	if (rc == 0 && (rc = json_require_object(value, err)) == 0)
		*json = value;
	return rc;
}

int command_read_text(const char *text, size_t size, struct json_object **json,
		      struct error *problem, struct error *err)
{
	problem->code = 0;
	int rc = parse_limited(text, size, json, err);
	if (rc != ERR_LIMIT)
		return rc;
	*problem = *err;
	return json_skim(text, size, json, err);
}

int command_read_id(struct json_object *json, const char **id, struct error *err)
{
	if (json_get_text(json, "commandId", id, err) != 0)
		return err->code;
	size_t size = strlen(*id);
	if (size == 0)
		return error_set(err, ERR_NOT_FOUND, "commandId: empty");
	if (size > LIMIT_ID_BYTES)
		return error_set(err, ERR_LIMIT, "commandId: longer than %d bytes: %.*s…",
				 LIMIT_ID_BYTES, (int)str_cut(*id, size, LIMIT_SHOWN_NAME), *id);
	return 0;
}

/* It is not repeated either where it is too long: every answer would. */
static void read_target_id(struct json_object *json, struct command *command,
			   struct problems *problems)
{
	command->target_id = optional_text(json, "targetId", problems);
	if (command->target_id == NULL || strlen(command->target_id) <= LIMIT_ID_BYTES)
		return;
	problems_add(problems, "targetId: longer than %d bytes", LIMIT_ID_BYTES);
	free(command->target_id);
	command->target_id = NULL;
}

struct command *command_new(struct json_object *json, struct problems *problems, struct error *err)
{
	const char *id;
	if (command_read_id(json, &id, err) != 0)
		return NULL;
	struct command *command = mem_new(struct command);
	answer_init(&command->answer);
	command->state = COMMAND_RECEIVED;
	command->id = mem_strdup(id);
	command->attempt = 1;
	command->started_ms = clock_monotonic_ms();
	command->received_at_ms = clock_now_ms();
	read_target_id(json, command, problems);
	command->action = optional_text(json, "action", problems);
	if (command->action == NULL && json_member(json, "action") == NULL)
		problems_add(problems, "action: missing");
	char *created_at = optional_text(json, "createdAt", problems);
	parse_time("createdAt", created_at, &command->created_at_ms, problems);
	free(created_at);
	command->expires_at = optional_text(json, "expiresAt", problems);
	command->expires_at_ms = INT64_MAX;
	parse_time("expiresAt", command->expires_at, &command->expires_at_ms, problems);
	parse_delivery(json, command, problems);
	command->upload_url = optional_text(json, "responseBodyUploadUrl", problems);
	command->body = json_object_get(json_member(json, "body"));
	return command;
}

struct command *command_new_done(const char *id)
{
	struct command *command = mem_new(struct command);
	answer_init(&command->answer);
	command->state = COMMAND_DONE;
	command->id = mem_strdup(id);
	command->expires_at_ms = INT64_MAX;
	command->started_ms = clock_monotonic_ms();
	return command;
}

bool command_has_text_file(const struct command *command)
{
	return command->has_text_file || (command->text.size > 0 && spool_is_file(&command->text));
}

char *command_text(const struct command *command)
{
	char created_at[CLOCK_TEXT_SIZE];
	struct json_object *json = json_new_object();
	json_set_text(json, "commandId", command->id);
	if (command->target_id != NULL)
		json_set_text(json, "targetId", command->target_id);
	if (command->action != NULL)
		json_set_text(json, "action", command->action);
	if (command->created_at_ms != 0) {
		clock_format(command->created_at_ms, created_at);
		json_set_text(json, "createdAt", created_at);
	}
	if (command->expires_at != NULL)
		json_set_text(json, "expiresAt", command->expires_at);
	/* A body that was fetched is one that need not be fetched again. */
	bool is_referenced = command->body == NULL && command->body_url != NULL;
	json_set_text(json, "bodyDelivery", is_referenced ? "referenced" : "embedded");
	if (is_referenced)
		json_set_text(json, "bodyUrl", command->body_url);
	else
		json_set(json, "body", json_object_get(command->body));
	if (command->upload_url != NULL)
		json_set_text(json, "responseBodyUploadUrl", command->upload_url);
	char *text = mem_strdup(json_object_to_json_string_ext(
	    json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(json);
	return text;
}

struct command *command_new_again(struct command *command)
{
	struct command *again = command_new_done(command->id);
	again->target_id = command->target_id != NULL ? mem_strdup(command->target_id) : NULL;
	again->upload_url = command->upload_url != NULL ? mem_strdup(command->upload_url) : NULL;
	again->expires_at_ms = command->expires_at_ms;
	again->received_at_ms = command->received_at_ms;
	again->receipt = command->next_receipt;
	command->next_receipt = NULL;
	again->attempt = command->next_attempt;
	again->seal = command->seal;
	again->answer = command->answer;
	answer_init(&command->answer);
	again->answer_size = command->answer_size;
	again->is_answered_again = true;
	again->journal_answer = command->journal_answer;
	again->is_stored = command->is_stored;
	again->is_unloaded = command->is_unloaded;
	again->is_ended = true;
	again->is_news_out = true;
	return again;
}

void command_free(struct command *command)
{
	if (command == NULL)
		return;
	free(command->id);
	free(command->target_id);
	free(command->action);
	free(command->expires_at);
	json_object_put(command->body);
	free(command->body_url);
	free(command->upload_url);
	free(command->receipt);
	free(command->next_receipt);
	spool_release(&command->text);
	payload_release(&command->payload);
	spool_release(&command->reply);
	answer_release(&command->answer);
	free(command);
}

void command_set_state(struct command *command, enum command_state state)
{
	static const unsigned allowed[] = {
	    [COMMAND_RECEIVED] = 1u << COMMAND_FETCHING | 1u << COMMAND_WAITING,
	    [COMMAND_FETCHING] = 1u << COMMAND_WAITING,
	    [COMMAND_WAITING] = 1u << COMMAND_EXECUTING,
	    [COMMAND_EXECUTING] = 0,
	    [COMMAND_DONE] = 1u << COMMAND_POSTED,
	    [COMMAND_POSTED] = 0,
	};
	assert((allowed[command->state] & 1u << state) != 0 ||
	       (state == COMMAND_DONE && command->state < COMMAND_DONE));
	command->state = state;
}
