/* The commands that this agent has and whose answers their source has not taken, by their id. */
#ifndef AGENT_HELD_H
#define AGENT_HELD_H

#include "agent/command.h"

struct held {
	struct command *first; /* a hash by id, in the order in which they came */
};

/* They are borrowed, and leave before they go. No id is held twice. */
void held_add(struct held *held, struct command *command);
void held_remove(struct held *held, struct command *command);
struct command *held_find(const struct held *held, const char *id);
size_t held_count(const struct held *held);

/* In order of arrival; NULL: there is none, or no more. */
struct command *held_first(const struct held *held);
struct command *held_next(const struct command *command);

#endif
