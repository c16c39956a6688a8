/* Status messages on their way to the platform's queue: PROCESSING, which is said once and
 * given up when that fails, and the terminal ones, which go back to the outbox then. Both share
 * batches, and a command's PROCESSING is never overtaken by its end. */
#ifndef AGENT_TDP_STATUSES_H
#define AGENT_TDP_STATUSES_H

#include "agent/tdp_lane.h"
#include "agent/transport.h"

struct tdp_statuses;

/* agent_id stands for the target of commands that named none. on_posted as in
 * transport_events. All borrowed. */
struct tdp_statuses *tdp_statuses_new(struct loop *loop, struct sqs *sqs,
				      const struct tdp_pace *pace, const char *agent_id,
				      void (*on_posted)(void *context,
							struct transport_post **posts, size_t count,
							const struct transport_outcome *outcome),
				      void *context);
void tdp_statuses_free(struct tdp_statuses *statuses);

/* NULL: none, what comes waits. Borrowed. */
void tdp_statuses_set_queue(struct tdp_statuses *statuses, const char *queue_url);
void tdp_statuses_processing(struct tdp_statuses *statuses, const struct transport_taken *taken);
void tdp_statuses_post(struct tdp_statuses *statuses, struct transport_post *post);
/* The bytes of the message that post becomes with an answer of body_size bytes. */
size_t tdp_statuses_size(const struct tdp_statuses *statuses, const struct transport_post *post,
			 size_t body_size);
/* Nothing waits and nothing is under way. */
bool tdp_statuses_is_idle(const struct tdp_statuses *statuses);

#endif
