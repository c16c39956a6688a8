/* The agent's life: it polls a source, relays what comes, posts the answers, and stops in
 * an orderly way when it is told to. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include "agent/settings.h"
#include "base/error.h"

/* Runs until SIGTERM or SIGINT and everything under way has ended or DRAIN_SECONDS are over; a
 * second signal ends it at once. settings is borrowed. 0 after a clean stop. */
NODISCARD int agent_run(const struct settings *settings, struct error *err);

#endif
