/* When a batch call goes to a queue: at once while little is going on, and when much is, so
 * late that it is full. One call at a time, more only with full batches. After a failure one
 * call, later, as the back-off says. The owner keeps what waits; the lane only counts it. */
#ifndef AGENT_TDP_LANE_H
#define AGENT_TDP_LANE_H

#include "agent/endpoint.h"
#include "agent/loop.h"
#include "agent/sqs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TDP_PACE_SAMPLES = 32 };

/* How busy the agent is: one for all lanes. */
struct tdp_pace {
	size_t (*in_flight)(void *context); /* commands whose answer the source does not have */
	void *context;
	int64_t ended_ms[TDP_PACE_SAMPLES]; /* when the last commands ended, monotonic: a ring */
	size_t next;
	bool is_hurried; /* the agent stops: nothing waits for company */
};

void tdp_pace_command_ended(struct tdp_pace *pace);
/* How long a batch of commands takes to end; 0 where waiting for it is not worth while. */
int64_t tdp_pace_gather_ms(const struct tdp_pace *pace);

struct tdp_lane {
	struct loop *loop;
	const struct tdp_pace *pace; /* NULL: nothing waits for company */
	/* Takes up to a batch from what waits (tdp_lane_took) and starts its call; false: there
	 * is nothing that may go now. */
	bool (*start)(void *context);
	void *context;
	size_t waiting;
	int64_t since_ms; /* monotonic: how long something waits */
	size_t calls;
	bool is_open; /* there is a queue to send to */
	bool is_failing;
	struct endpoint *endpoint; /* NULL: the owner waits after a failure */
	struct loop_task flush;
	struct loop_timer *gather;
};

void tdp_lane_init(struct tdp_lane *lane, struct loop *loop, const struct tdp_pace *pace,
		   bool (*start)(void *context), void *context);
/* From now on it waits after failures itself. what: for the log. */
void tdp_lane_set_source(struct tdp_lane *lane, struct source *source, const char *what);
void tdp_lane_release(struct tdp_lane *lane);
void tdp_lane_open(struct tdp_lane *lane, bool is_open);
void tdp_lane_add(struct tdp_lane *lane, size_t count);
/* count of them are no longer waiting. */
void tdp_lane_took(struct tdp_lane *lane, size_t count);
/* A call that start began has ended. */
void tdp_lane_call_ended(struct tdp_lane *lane, const struct transport_outcome *outcome);
bool tdp_lane_is_idle(const struct tdp_lane *lane);

#endif
