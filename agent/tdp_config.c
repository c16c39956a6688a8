#include "agent/tdp_config.h"

#include "agent/limits.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

enum { CALL_TIMEOUT_MS = 30000, NAME_MAX_BYTES = 2048 };

static const char SOURCE_QUEUE[] = "rpcSourceQueueUrl";
static const char PLATFORM_QUEUE[] = "rpcPlatformQueueUrl";

static int read_queue(struct json_object *answer, const char *name, char **queue, struct error *err)
{
	const char *text;
	struct url url;
	int rc = json_get_text(answer, name, &text, err);
	if (rc != 0)
		return rc;
	if (strlen(text) > NAME_MAX_BYTES || url_parse(text, &url, err) != 0)
		return error_set(err, ERR_INVALID, "agent/config: %s is not an http or https URL",
				 name);
	url_release(&url);
	*queue = mem_strdup(text);
	return 0;
}

/* It goes into what is signed and, with it, into a header. */
static bool is_region(const char *text)
{
	size_t size = strlen(text);
	return size > 0 && size <= 64 && str_is_token(text, size);
}

static int read_region(struct json_object *answer, char **region, struct error *err)
{
	const char *text;
	if (json_get_text(answer, "region", &text, err) != 0 || !is_region(text))
		return error_set(err, ERR_INVALID,
				 "agent/config: region is missing or no region's name");
	*region = mem_strdup(text);
	return 0;
}

int tdp_config_read(struct tdp_config *config, struct json_object *answer, struct error *err)
{
	struct tdp_config found = {0};
	int rc = read_queue(answer, SOURCE_QUEUE, &found.source_queue, err);
	if (rc == ERR_NOT_FOUND)
		error_set(err, ERR_NOT_FOUND,
			  "the agent's command queue is not enabled in TDP: enable it there "
			  "(docs/tdp.md says where), it is used as soon as it is there");
	else if (rc == 0)
		rc = read_queue(answer, PLATFORM_QUEUE, &found.platform_queue, err);
	if (rc == 0)
		rc = read_region(answer, &found.region, err);
	if (rc != 0)
		tdp_config_release(&found);
	else
		*config = found;
	return rc;
}

void tdp_config_release(struct tdp_config *config)
{
	free(config->region);
	free(config->source_queue);
	free(config->platform_queue);
	*config = (struct tdp_config){0};
}

/* TDP names the platform's queue even to an agent whose own one is not enabled. */
bool tdp_config_is_tdp(struct json_object *answer)
{
	return json_member(answer, SOURCE_QUEUE) != NULL ||
	       json_member(answer, PLATFORM_QUEUE) != NULL;
}

struct service_call *tdp_config_ask(struct service_api *api, service_on_answer *on_answer,
				    void *context)
{
	static const char *const path[] = {"v1", "data-acquisition", "agent", "config", NULL};
	return service_call_start(api, "POST", path, NULL, service_agent_json(api), CALL_TIMEOUT_MS,
				  LIMIT_SERVICE_ANSWER_BYTES, on_answer, context);
}
