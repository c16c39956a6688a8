/* A payload's way to its target and back: one request, and the redirects that it is told to
 * follow, each an exchange of its own, within one timeout. */
#ifndef AGENT_TARGET_H
#define AGENT_TARGET_H

#include "agent/http.h"
#include "agent/payload.h"

struct target_call;

/* Starts; payload, profile and reply are borrowed until the end. The callback runs once,
 * never from inside; the response is the last hop's and valid during it only, its body is in
 * reply. */
struct target_call *target_start(struct http_client *client, const struct http_profile *profile,
				 const struct payload *payload, struct spool *reply,
				 void (*on_done)(void *context, struct http_response *response),
				 void *context);
void target_cancel(struct target_call *call);

#endif
