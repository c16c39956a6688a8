#include "service/calls.h"

#include "base/secret.h"
#include "base/str.h"
#include "service/service.h"

#include <inttypes.h>
#include <string.h>

int call_object(struct request *request, struct span *object)
{
	struct error err;
	*object = span_of(request->body.size ? buf_str(&request->body) : "{}",
			  request->body.size ? request->body.size : 2);
	if (request->body.size > 0 &&
	    json_check(request->body.data, request->body.size, &err) < 0) {
		request_fail(request, MHD_HTTP_BAD_REQUEST, "the body is not JSON: %s",
			     err.message);
		return ERR_SYNTAX;
	}
	if (!span_is_object(*object)) {
		request_fail(request, MHD_HTTP_BAD_REQUEST,
			     "the body must be a JSON object, not %s", span_kind(*object));
		return ERR_INVALID;
	}
	return 0;
}

int call_check(struct request *request, const struct problems *problems)
{
	if (problems->count == 0)
		return 0;
	struct buf message = BUF_INIT(64 * 1024);
	problems_join(problems, "; ", &message);
	request_fail(request, MHD_HTTP_BAD_REQUEST, "%s", buf_str(&message));
	buf_release(&message);
	return ERR_INVALID;
}

void call_number(struct span object, const char *key, int64_t min, int64_t max, int64_t *number,
		 struct problems *problems)
{
	struct error err;
	struct span value = span_member(object, key);
	if (!span_is_null(value) && span_int64(value, min, max, number, &err) < 0)
		problems_add(problems, "%s %s", key, err.message);
}

void call_array(struct span object, const char *key, const char *items, struct span *array,
		struct problems *problems)
{
	struct span item;
	size_t count = 0;
	*array = span_member(object, key);
	if (!span_is_array(*array)) {
		problems_add(problems, "%s must be an array of %s, not %s", key, items,
			     span_kind(*array));
		return;
	}
	struct span_cursor cursor = span_begin(*array);
	while (count <= CALL_ITEMS_MAX && span_next(&cursor, NULL, &item))
		count++;
	if (count > CALL_ITEMS_MAX)
		problems_add(problems,
			     "%s must hold at most %d %s in one call: send the others in further "
			     "calls",
			     key, CALL_ITEMS_MAX, items);
}

int call_is_own_queue(struct request *request)
{
	if (strcmp(request->parameters[0], request->token.agent) == 0)
		return 0;
	request_fail(request, MHD_HTTP_FORBIDDEN,
		     "this token opens the queue of another agent id: use the one that was made "
		     "with --agent for the id in the path");
	return ERR_AUTH;
}

int capability_check(struct request *request, enum url_purpose purpose, struct command *command)
{
	char key[URL_KEY_TEXT_SIZE];
	struct error err;
	struct store *store = request->service->store;
	int rc = store_command_find(store, NULL, request->parameters[0], command, &err);
	if (rc < 0 && rc != ERR_NOT_FOUND) {
		request_fail_store(request, &err);
		return rc;
	}
	if (rc == 0) {
		store_url_key(store, command->id, purpose, key);
		struct secret wanted = {key, URL_KEY_TEXT_SIZE - 1};
		const char *given = request->parameters[1];
		if (secret_equal(&wanted, given, strlen(given)) &&
		    !status_is_terminal(command->status))
			return 0;
	}
	request_fail(request, MHD_HTTP_NOT_FOUND,
		     "this URL is not valid, or not any more: it ends with its command");
	return ERR_NOT_FOUND;
}

struct reading {
	struct query *query;
	bool is_broken;
};

static enum MHD_Result add_parameter(void *context, enum MHD_ValueKind kind, const char *name,
				     size_t name_size, const char *value, size_t value_size)
{
	struct reading *reading = context;
	struct query *query = reading->query;
	(void)kind;
	if (query->count == QUERY_MAX || strlen(name) != name_size ||
	    (value && strlen(value) != value_size)) {
		reading->is_broken = true;
		return MHD_NO;
	}
	query->items[query->count++] = (struct query_parameter){name, value ? value : ""};
	return MHD_YES;
}

int query_read(struct request *request, struct query *query)
{
	struct reading reading = {.query = query};
	query->count = 0;
	(void)MHD_get_connection_values_n(request->connection, MHD_GET_ARGUMENT_KIND, add_parameter,
					  &reading); /* returns how many there are */
	if (!reading.is_broken)
		return 0;
	request_fail(request, MHD_HTTP_BAD_REQUEST,
		     "at most %d query parameters, without NUL characters", QUERY_MAX);
	return ERR_INVALID;
}

void query_number(const struct query_parameter *parameter, int64_t min, int64_t max,
		  int64_t *number, struct problems *problems)
{
	int64_t value;
	if (str_to_int64(parameter->value, &value) && value >= min && value <= max)
		*number = value;
	else
		problems_add(problems, "%s must be a whole number from %" PRId64 " to %" PRId64,
			     parameter->name, min, max);
}
