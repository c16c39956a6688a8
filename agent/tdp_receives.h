/* ReceiveMessage: one long poll, or some calls at once while each brings all that it can; later
 * where commands come one by one to a busy agent, so that each brings several. */
#ifndef AGENT_TDP_RECEIVES_H
#define AGENT_TDP_RECEIVES_H

#include "agent/tdp_lane.h"

#include <json-c/json.h>

struct tdp_receives;

struct tdp_receives_events {
	void *context;
	/* One message as SQS has it; borrowed. */
	void (*on_message)(void *context, struct json_object *message);
	/* The receive is over: ok when any of its calls went well. */
	void (*on_ended)(void *context, const struct sqs_outcome *outcome);
};

/* wait_seconds: of a long poll. lease_seconds: how long what comes is invisible to others; 0: as
 * the queue has it. */
struct tdp_receives *tdp_receives_new(struct loop *loop, struct sqs *sqs,
				      const struct tdp_pace *pace, int64_t wait_seconds,
				      int64_t lease_seconds,
				      const struct tdp_receives_events *events);
void tdp_receives_free(struct tdp_receives *receives);

/* Brings up to max messages; one at a time. queue_url is borrowed until on_ended. */
void tdp_receives_start(struct tdp_receives *receives, const char *queue_url, size_t max);
/* Gives up each call that nothing has come of. True: all of them, and there is no on_ended; false:
 * on_ended follows when the others are through. Either way it is the last receive. */
bool tdp_receives_stop(struct tdp_receives *receives);

#endif
