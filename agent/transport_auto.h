/* TRANSPORT=auto: which kind of service is this? It is asked once; whoever wants to know
 * asks again when the answer was trouble. */
#ifndef AGENT_TRANSPORT_AUTO_H
#define AGENT_TRANSPORT_AUTO_H

#include "agent/settings.h"
#include "agent/transport.h"

struct transport_question;

/* on_answer is called once: with an outcome that is ok kind is TRANSPORT_HTTP or TRANSPORT_TDP,
 * and config (borrowed; NULL: none) what transport_tdp_new wants. The question frees itself
 * then; transport_question_cancel ends it without a call. */
struct transport_question *transport_ask(
    struct http_client *client, const struct settings *settings,
    void (*on_answer)(void *context, enum settings_transport kind, struct json_object *config,
		      const struct transport_outcome *outcome),
    void *context, struct error *err);
/* Where it is asked, for source_set_address. */
const struct url *transport_question_address(const struct transport_question *question);
void transport_question_cancel(struct transport_question *question);

#endif
