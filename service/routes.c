#include "service/routes.h"

#include "base/buf.h"

#include <string.h>

enum {
	COMMAND_BYTES_MAX = 10 * 1024 * 1024,
	STATUS_BYTES_MAX = 8 * 1024 * 1024,
	CALL_BYTES_MAX = 64 * 1024,
	EXTEND_BYTES_MAX = 1024 * 1024,
};

#define COMMAND "a command", .max_body = COMMAND_BYTES_MAX
#define AGENTS  "/v1/agents/{}/commands/"
#define TDP     "/v1/data-acquisition/agent/"

static const struct route routes[] = {
    {"GET", "/healthz", .handle = on_healthz},
    {"POST", "/v1/commands", ROLE_REQUESTOR, .handle = on_command_post, .body_name = COMMAND},
    {"GET", "/v1/commands", ROLE_REQUESTOR, .handle = on_search},
    {"DELETE", "/v1/commands", ROLE_REQUESTOR, .handle = on_purge},
    {"GET", "/v1/commands/actions", ROLE_REQUESTOR, .handle = on_actions},
    {"GET", "/v1/commands/{}", ROLE_REQUESTOR, .handle = on_command_get},
    {"GET", "/v1/commands/{}/history", ROLE_REQUESTOR, .handle = on_history},
    {"GET", "/v1/commands/{}/response", ROLE_REQUESTOR, .handle = on_response_get},
    {"POST", "/internal", ROLE_REQUESTOR, .handle = on_command_post, .body_name = COMMAND},
    {"GET", "/internal/{}", ROLE_REQUESTOR, .handle = on_command_get},
    {"POST", TDP "config", ROLE_AGENT, CALL_BYTES_MAX, .handle = on_agent_config},
    {"POST", TDP "status", ROLE_AGENT, CALL_BYTES_MAX, .handle = on_agent_status},
    {"PUT", TDP "status", ROLE_AGENT, CALL_BYTES_MAX, .handle = on_agent_status},
    {"POST", AGENTS "receive", ROLE_AGENT, CALL_BYTES_MAX, .handle = on_receive},
    {"POST", AGENTS "extend", ROLE_AGENT, EXTEND_BYTES_MAX, .handle = on_extend},
    {"POST", AGENTS "status", ROLE_AGENT, STATUS_BYTES_MAX, .handle = on_status,
     .body_name = "the updates of one call"},
    {"GET", "/v1/bodies/{}/{}", .handle = on_body_get},
    {"PUT", "/v1/uploads/{}/{}", .handle = on_upload, .begin = on_upload_begin,
     .receive = on_upload_bytes},
};

enum { ROUTE_COUNT = sizeof routes / sizeof *routes };

/* Sets parameters (may be left half set when it does not match). */
static bool matches(const char *pattern, const struct request *request,
		    const char *parameters[REQUEST_PARAMETERS_MAX])
{
	size_t found = 0;
	for (size_t i = 0; i < request->segment_count; i++) {
		const char *segment = request->segments[i];
		if (*pattern++ != '/')
			return false;
		size_t length = strcspn(pattern, "/");
		if (length == 2 && memcmp(pattern, "{}", 2) == 0) {
			if (*segment == '\0')
				return false;
			parameters[found++] = segment;
		} else if (strlen(segment) != length || memcmp(pattern, segment, length) != 0) {
			return false;
		}
		pattern += length;
	}
	return *pattern == '\0' && request->segment_count > 0;
}

static bool has_method(const struct route *route, const char *method)
{
	bool is_head_of_get = strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
	return is_head_of_get || strcmp(route->method, method) == 0;
}

/* The methods of a known path, "" for an unknown one. A word that stands in a pattern wins
 * over {}, because it comes first in the table. */
static void find_methods(const struct request *request, struct buf *methods)
{
	const char *parameters[REQUEST_PARAMETERS_MAX];
	const char *pattern = NULL;
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		if (pattern ? strcmp(pattern, routes[i].pattern) != 0
			    : !matches(routes[i].pattern, request, parameters))
			continue;
		pattern = routes[i].pattern;
		(void)buf_printf(methods, "%s%s", methods->size ? ", " : "", routes[i].method);
		if (strcmp(routes[i].method, "GET") == 0)
			(void)buf_append_str(methods, ", HEAD");
	}
}

static void refuse(struct request *request)
{
	struct buf methods = BUF_INIT(256);
	find_methods(request, &methods);
	if (methods.size == 0) {
		request_fail(request, MHD_HTTP_NOT_FOUND,
			     "there is nothing at this path: the calls begin with /v1/commands for "
			     "requestors and /v1/agents for agents");
	} else {
		request_fail(request, MHD_HTTP_METHOD_NOT_ALLOWED,
			     "this path does not take the method %s, but: %s", request->method,
			     buf_str(&methods));
		(void)MHD_add_response_header(request->response, MHD_HTTP_HEADER_ALLOW,
					      buf_str(&methods)); /* else without it */
	}
	buf_release(&methods);
}

void route_find(struct request *request)
{
	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		if (has_method(&routes[i], request->method) &&
		    matches(routes[i].pattern, request, request->parameters)) {
			request->route = &routes[i];
			return;
		}
	}
	refuse(request);
}

void on_healthz(struct request *request)
{
	struct json_object *value = json_new_object();
	json_set_text(value, "status", "ok");
	request_answer_json(request, MHD_HTTP_OK, value);
}
