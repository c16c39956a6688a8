/* Does somebody listen there? One TCP connection (and the lookup of a name), on which not a
 * byte is sent and which is closed at once. */
#ifndef AGENT_HTTP_KNOCK_H
#define AGENT_HTTP_KNOCK_H

#include "agent/loop.h"
#include "base/url.h"

#include <stdbool.h>
#include <stdint.h>

struct http_knock;

/* on_done is called once, never from inside this. The URL's host and port count; no proxy is
 * used. The knock frees itself after the call; http_knock_cancel (NULL: nothing) ends it without
 * one. */
struct http_knock *http_knock_start(struct loop *loop, const struct url *url, int64_t timeout_ms,
				    void (*on_done)(void *context, bool is_open), void *context);
void http_knock_cancel(struct http_knock *knock);

#endif
