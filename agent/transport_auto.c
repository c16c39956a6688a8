#include "agent/transport_auto.h"

#include "agent/service_call.h"
#include "agent/tdp_config.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct transport_question {
	struct service_api api;
	const struct settings *settings;
	struct service_call *call;
	void (*on_answer)(void *context, enum settings_transport kind, struct json_object *config,
			  const struct transport_outcome *outcome);
	void *context;
};

static void question_free(struct transport_question *question)
{
	service_api_release(&question->api);
	free(question);
}

/* A service that does not know the call at all has no queues. One that knows it, and not this
 * agent, names the agent in its message. */
static bool is_unknown_call(const struct transport_question *question,
			    const struct transport_outcome *outcome)
{
	return outcome->status == 404 &&
	       strstr(outcome->reason, question->settings->agent_id) == NULL;
}

static void on_config(void *context, struct json_object *answer,
		      const struct transport_outcome *outcome)
{
	struct transport_question *question = context;
	struct transport_outcome result = *outcome;
	enum settings_transport kind = TRANSPORT_HTTP;
	if (is_unknown_call(question, outcome))
		result = (struct transport_outcome){.is_ok = true};
	else if (outcome->is_ok && tdp_config_is_tdp(answer))
		kind = TRANSPORT_TDP;
	question->on_answer(question->context, kind, answer, &result);
	question_free(question);
}

struct transport_question *transport_ask(
    struct http_client *client, const struct settings *settings,
    void (*on_answer)(void *context, enum settings_transport kind, struct json_object *config,
		      const struct transport_outcome *outcome),
    void *context, struct error *err)
{
	struct transport_question *question = mem_new(struct transport_question);
	question->settings = settings;
	question->on_answer = on_answer;
	question->context = context;
	if (service_api_init(&question->api, client, settings, err) != 0) {
		free(question);
		return NULL;
	}
	question->call = tdp_config_ask(&question->api, on_config, question);
	return question;
}

void transport_question_cancel(struct transport_question *question)
{
	if (question == NULL)
		return;
	service_call_cancel(question->call);
	question_free(question);
}

const struct url *transport_question_address(const struct transport_question *question)
{
	return service_api_address(&question->api);
}
