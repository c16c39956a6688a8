#include "agent/leases.h"

#include "base/mem.h"

#include <stdlib.h>

enum { BATCH = 1000 }; /* receipts in one call */

struct leases {
	const struct held *held;
	struct transport *transport; /* NULL: not known yet */
	struct endpoint *keeping;
	struct loop_timer *timer;
	size_t calls; /* under way */
};

static void keep(struct leases *leases, const char *const *receipts, size_t count)
{
	leases->calls++;
	leases->transport->ops->keep(leases->transport, receipts, count);
}

/* Everything that is held is still worked on. One call is enough to find out whether the source
 * is there again. */
static void keep_all(struct leases *leases)
{
	size_t calls_max = endpoint_is_failing(leases->keeping) ? 1 : SIZE_MAX;
	const char **receipts = mem_calloc(BATCH, sizeof receipts[0]);
	size_t count = 0;
	for (struct command *command = held_first(leases->held); command != NULL;
	     command = held_next(command)) {
		if (leases->calls >= calls_max)
			break;
		if (command->receipt == NULL)
			continue;
		receipts[count++] = command->receipt;
		if (count == BATCH) {
			keep(leases, receipts, count);
			count = 0;
		}
	}
	if (count > 0)
		keep(leases, receipts, count);
	if (leases->calls == 0)
		endpoint_reset(leases->keeping);
	free((void *)receipts);
}

static void on_time(void *context)
{
	struct leases *leases = context;
	if (leases->calls == 0 && !endpoint_waits(leases->keeping))
		keep_all(leases);
	loop_timer_start(leases->timer, leases->transport->keep_interval_ms);
}

void leases_on_kept(struct leases *leases, const struct transport_outcome *outcome)
{
	leases->calls--;
	if (outcome->is_ok)
		endpoint_worked(leases->keeping);
	else
		endpoint_failed(leases->keeping, outcome);
}

struct leases *leases_new(struct loop *loop, struct source *source, const struct held *held)
{
	struct leases *leases = mem_new(struct leases);
	leases->held = held;
	leases->keeping = endpoint_new(source, "extending leases", on_time, leases);
	leases->timer = loop_timer_new(loop, on_time, leases);
	return leases;
}

void leases_start(struct leases *leases, struct transport *transport)
{
	leases->transport = transport;
	if (transport->keep_interval_ms > 0)
		loop_timer_start(leases->timer, transport->keep_interval_ms);
}

void leases_free(struct leases *leases)
{
	if (leases == NULL)
		return;
	endpoint_free(leases->keeping);
	loop_timer_free(leases->timer);
	free(leases);
}
