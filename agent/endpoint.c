#include "agent/endpoint.h"

#include "agent/backoff.h"
#include "agent/http_knock.h"
#include "base/clock.h"
#include "base/mem.h"
#include "crypto/random.h"

#include <stdlib.h>
#include <sys/queue.h>

enum {
	KNOCK_MS = 1000,         /* from one knock to the next; a part of it is random */
	KNOCK_TIMEOUT_MS = 2500, /* lets a lost SYN be sent again, after a second */
	SPREAD_MS = 500,         /* within which the endpoints of a peer that is back try again */
};

struct endpoint {
	struct source *source;
	struct backoff backoff;
	struct loop_timer *timer;
	void (*on_time)(void *context);
	void *context;
	bool is_elsewhere;
	bool is_told; /* how long to wait: that is not cut short */
	bool was_cut;
	int64_t cut_at_ms; /* monotonic */
	LIST_ENTRY(endpoint) link;
};

struct source {
	struct loop *loop;
	struct outage outage;
	struct url address;
	bool has_address;
	bool is_away; /* a call has failed since the last that succeeded */
	struct http_knock *knock;
	struct loop_timer *knock_again;
	LIST_HEAD(, endpoint) endpoints;
};

static int64_t random_ms(int64_t limit_ms)
{
	return (int64_t)random_below((uint64_t)limit_ms);
}

static void stop_knocking(struct source *source)
{
	http_knock_cancel(source->knock);
	source->knock = NULL;
	loop_timer_stop(source->knock_again);
}

static bool may_cut(const struct endpoint *endpoint)
{
	return endpoint_waits(endpoint) && !endpoint->is_told &&
	       (!endpoint->was_cut || clock_monotonic_ms() - endpoint->cut_at_ms >= BACKOFF_MAX_MS);
}

static void cut_waits(struct source *source)
{
	struct endpoint *endpoint;
	LIST_FOREACH(endpoint, &source->endpoints, link)
	{
		if (!may_cut(endpoint))
			continue;
		endpoint->was_cut = true;
		endpoint->cut_at_ms = clock_monotonic_ms();
		loop_timer_start_earlier(endpoint->timer, random_ms(SPREAD_MS));
	}
}

static void on_knocked(void *context, bool is_open)
{
	struct source *source = context;
	source->knock = NULL;
	if (is_open)
		cut_waits(source);
	else
		loop_timer_start(source->knock_again, KNOCK_MS - random_ms(KNOCK_MS / 4));
}

static void knock(void *context)
{
	struct source *source = context;
	source->knock =
	    http_knock_start(source->loop, &source->address, KNOCK_TIMEOUT_MS, on_knocked, source);
}

static void knock_soon(struct source *source)
{
	if (source->has_address && source->knock == NULL &&
	    !loop_timer_is_running(source->knock_again))
		loop_timer_start(source->knock_again, KNOCK_MS - random_ms(KNOCK_MS / 4));
}

void source_reached(struct source *source)
{
	stop_knocking(source);
	if (source->is_away)
		cut_waits(source);
	source->is_away = false;
}

void endpoint_failed(struct endpoint *endpoint, const struct transport_outcome *outcome)
{
	struct source *source = endpoint->source;
	endpoint->is_told = outcome->is_refused || outcome->retry_after_ms > 0;
	if (!endpoint->is_elsewhere) {
		source->is_away = true;
		if (outcome->is_unreachable)
			knock_soon(source);
		else
			stop_knocking(source); /* somebody listens */
	}
	loop_timer_start(endpoint->timer, backoff_fail(&endpoint->backoff, outcome->is_refused,
						       outcome->retry_after_ms, outcome->reason));
}

void endpoint_worked(struct endpoint *endpoint)
{
	backoff_succeed(&endpoint->backoff);
	endpoint->was_cut = false;
	if (!endpoint->is_elsewhere)
		source_reached(endpoint->source);
}

void endpoint_reset(struct endpoint *endpoint)
{
	backoff_reset(&endpoint->backoff);
	loop_timer_stop(endpoint->timer);
}

bool endpoint_waits(const struct endpoint *endpoint)
{
	return loop_timer_is_running(endpoint->timer);
}

bool endpoint_is_failing(const struct endpoint *endpoint)
{
	return endpoint->backoff.failures > 0;
}

void endpoint_stop(struct endpoint *endpoint)
{
	loop_timer_stop(endpoint->timer);
}

static void on_timer(void *context)
{
	struct endpoint *endpoint = context;
	if (endpoint->on_time != NULL)
		endpoint->on_time(endpoint->context);
}

struct endpoint *endpoint_new(struct source *source, const char *what,
			      void (*on_time)(void *context), void *context)
{
	struct endpoint *endpoint = mem_new(struct endpoint);
	endpoint->source = source;
	endpoint->backoff =
	    (struct backoff){.what = what, .outage = what != NULL ? &source->outage : NULL};
	endpoint->on_time = on_time;
	endpoint->context = context;
	endpoint->timer = loop_timer_new(source->loop, on_timer, endpoint);
	LIST_INSERT_HEAD(&source->endpoints, endpoint, link);
	return endpoint;
}

void endpoint_free(struct endpoint *endpoint)
{
	if (endpoint == NULL)
		return;
	LIST_REMOVE(endpoint, link);
	loop_timer_free(endpoint->timer);
	free(endpoint);
}

void endpoint_set_elsewhere(struct endpoint *endpoint)
{
	endpoint->is_elsewhere = true;
	endpoint->backoff.outage = NULL;
}

struct source *source_new(struct loop *loop)
{
	struct source *source = mem_new(struct source);
	source->loop = loop;
	source->outage.what = "the source of commands";
	source->knock_again = loop_timer_new(loop, knock, source);
	LIST_INIT(&source->endpoints);
	return source;
}

void source_set_address(struct source *source, const struct url *address)
{
	if (source->has_address)
		url_release(&source->address);
	source->has_address = address != NULL;
	if (address != NULL)
		url_copy(address, &source->address);
}

void source_free(struct source *source)
{
	if (source == NULL)
		return;
	stop_knocking(source);
	loop_timer_free(source->knock_again);
	if (source->has_address)
		url_release(&source->address);
	free(source);
}
