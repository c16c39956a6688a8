#include "agent/leases.h"

#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

enum {
	BATCH = 1000, /* receipts in one call */
	NAMED = 3,    /* of the commands whose leases were lost */
};

struct lost {
	char *receipt;
	UT_hash_handle hh;
};

struct leases {
	const struct held *held;
	struct transport *transport; /* NULL: not known yet */
	struct endpoint *keeping;
	struct loop_timer *timer;
	size_t calls;      /* under way */
	struct lost *lost; /* what these found, by receipt */
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

static void forget_lost(struct leases *leases)
{
	struct lost *lost = leases->lost;
	HASH_CLEAR(hh, leases->lost);
	for (struct lost *next; lost != NULL; lost = next) {
		next = lost->hh.next;
		free(lost->receipt);
		free(lost);
	}
}

static bool is_lost(const struct leases *leases, const struct command *command)
{
	struct lost *lost = NULL;
	if (command->receipt != NULL)
		HASH_FIND_STR(leases->lost, command->receipt, lost);
	return lost != NULL;
}

/* A source that was away too long has lost all of them at once. */
static void tell_lost(const struct leases *leases)
{
	size_t count = 0;
	for (struct command *command = held_first(leases->held); command != NULL;
	     command = held_next(command)) {
		if (is_lost(leases, command) && ++count <= NAMED)
			log_warn("command %s: its lease was lost, another agent may get it too",
				 command->id);
	}
	if (count > NAMED)
		log_warn("the leases of %zu more commands were lost, another agent may get these "
			 "too",
			 count - NAMED);
}

void leases_on_lost(struct leases *leases, const char *receipt)
{
	struct lost *lost;
	HASH_FIND_STR(leases->lost, receipt, lost);
	if (lost != NULL)
		return;
	lost = mem_new(struct lost);
	lost->receipt = mem_strdup(receipt);
	HASH_ADD_KEYPTR(hh, leases->lost, lost->receipt, strlen(lost->receipt), lost);
}

void leases_on_kept(struct leases *leases, const struct transport_outcome *outcome)
{
	leases->calls--;
	if (leases->calls == 0 && leases->lost != NULL) {
		tell_lost(leases);
		forget_lost(leases);
	}
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
	forget_lost(leases);
	endpoint_free(leases->keeping);
	loop_timer_free(leases->timer);
	free(leases);
}
