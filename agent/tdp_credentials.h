/* The keys that TDP lends an agent for its queues, for an hour at a time. They are renewed
 * when half of their life is over, and once when the queue refuses them. One renewal at a
 * time; whoever needs keys meanwhile waits. Never logged. */
#ifndef AGENT_TDP_CREDENTIALS_H
#define AGENT_TDP_CREDENTIALS_H

#include "agent/endpoint.h"
#include "agent/loop.h"
#include "agent/service_call.h"
#include "agent/sigv4.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct tdp_credentials;

/* Asks for nothing yet. api is borrowed. on_reached: the platform has answered well. */
struct tdp_credentials *tdp_credentials_new(struct loop *loop, struct source *source,
					    struct service_api *api,
					    void (*on_reached)(void *context), void *context);
/* Nobody may wait any more. */
void tdp_credentials_free(struct tdp_credentials *credentials);

/* The keys and which of all that there were they are; NULL when there are none that live. */
const struct sigv4_keys *tdp_credentials_keys(const struct tdp_credentials *credentials,
					      uint64_t *generation);

/* Embedded in its owner, who cancels the wait before it goes. */
struct tdp_wait {
	void (*on_keys)(void *context);
	void *context;
	uint64_t generation; /* of the keys that will not do */
	bool is_waiting;
	TAILQ_ENTRY(tdp_wait) link;
};

/* Calls on_keys once, later, when there are other keys than now. A renewal that fails is told
 * in the log and tried again until it succeeds. */
void tdp_credentials_wait(struct tdp_credentials *credentials, struct tdp_wait *wait);
void tdp_credentials_cancel_wait(struct tdp_credentials *credentials, struct tdp_wait *wait);

/* A queue has refused the keys of that generation: true when it is worth waiting for later
 * ones, false when these are the ones that were fetched because of a refusal. */
bool tdp_credentials_refused(struct tdp_credentials *credentials, uint64_t generation);
/* A queue has accepted them. */
void tdp_credentials_accepted(struct tdp_credentials *credentials, uint64_t generation);

#endif
