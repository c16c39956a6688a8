/* What `agent/config` answers: which kind of service this is, and where its queues are. */
#ifndef AGENT_TDP_CONFIG_H
#define AGENT_TDP_CONFIG_H

#include "agent/service_call.h"
#include "base/error.h"

#include <json-c/json.h>

struct tdp_config {
	char *region;
	char *source_queue;   /* commands come from there */
	char *platform_queue; /* status messages go there */
};

/* ERR_NOT_FOUND: the agent's command queue is not enabled. ERR_INVALID: it makes no sense. */
NODISCARD int tdp_config_read(struct tdp_config *config, struct json_object *answer,
			      struct error *err);
void tdp_config_release(struct tdp_config *config);

/* Does a service that answers this have queues, be they enabled or not? */
bool tdp_config_is_tdp(struct json_object *answer);

struct service_call *tdp_config_ask(struct service_api *api, service_on_answer *on_answer,
				    void *context);

#endif
