/* One JSON call to a command service's API: the headers that all of them share, the
 * reading of errors. Used by the HTTP transport and by `relay-agent send`. */
#ifndef AGENT_SERVICE_CALL_H
#define AGENT_SERVICE_CALL_H

#include "agent/http.h"
#include "agent/settings.h"
#include "agent/transport.h"
#include "base/url.h"

#include <json-c/json.h>

/* Lives as long as the agent; settings and client are borrowed. */
struct service_api {
	struct http_client *client;
	const struct settings *settings;
	struct http_profile profile;
	struct http_headers headers; /* token, org, content type, an id for each request */
	struct url url;
};

NODISCARD int service_api_init(struct service_api *api, struct http_client *client,
			       const struct settings *settings, struct error *err);
void service_api_release(struct service_api *api);

/* answer is the JSON object of a 2xx, borrowed; NULL when the outcome is not ok. */
typedef void service_on_answer(void *context, struct json_object *answer,
			       const struct transport_outcome *outcome);

/* segments is a NULL-terminated path, parameters a NULL-terminated list of pairs or NULL.
 * body is JSON or NULL (taken: its reference is put). The call frees itself after the
 * callback; service_call_cancel ends it without one. */
struct service_call *service_call_start(struct service_api *api, const char *method,
					const char *const *segments, const char *const *parameters,
					struct json_object *body, int64_t timeout_ms,
					size_t max_answer_bytes, service_on_answer *on_answer,
					void *context);
/* The same with the body's JSON as text (taken: body is empty then). */
struct service_call *service_call_start_text(struct service_api *api, const char *method,
					     const char *const *segments, struct buf *body,
					     int64_t timeout_ms, size_t max_answer_bytes,
					     service_on_answer *on_answer, void *context);
void service_call_cancel(struct service_call *call);
/* An answer that has come and is being read in pieces is read now, to the end: the callback comes
 * from inside. False: none has come. call may be NULL. */
NODISCARD bool service_call_hurry(struct service_call *call);
/* Is an answer coming? call may be NULL. */
bool service_call_has_begun(const struct service_call *call);
/* elements says where they stand in the answer's text; it must live until the callback, … */
void service_call_note(struct service_call *call, struct json_elements *elements);
/* … from which the text can be taken. */
struct buf service_call_take_text(struct service_call *call);
/* The answer holds secrets: its text is wiped after it was read. */
void service_call_wipe_answer(struct service_call *call);

/* Tells the service that the agent lives; status is STARTED, STOPPED, or NULL (alive). */
struct service_call *service_announce_start(struct service_api *api, const char *status,
					    int64_t timeout_ms, service_on_answer *on_answer,
					    void *context);
/* {agentId, agentVersion}: what every call of the agent's API says. */
struct json_object *service_agent_json(const struct service_api *api);

/* Where the service listens for us; NULL: a proxy does. */
const struct url *service_api_address(const struct service_api *api);

/* Does this code of http_response say that nobody listens at the address? */
bool service_is_unreachable(const char *code);

/* " by way of the proxy …", or what that has against us; "" without one. For messages; the
 * caller frees it. */
char *service_by_proxy(const struct http_response *response);

/* What the peer asks for with Retry-After; 0: nothing. */
int64_t service_retry_after_ms(const struct http_response *response);

/* What an exchange means for the one who wants to try again, if it failed. what it was about is for
 * the message; it may be NULL where there is none (2xx). */
void transport_outcome_from_response(struct transport_outcome *outcome,
				     const struct http_response *response, const char *what);

#endif
