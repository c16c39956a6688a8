/* What the handlers of several calls need. */
#ifndef SERVICE_CALLS_H
#define SERVICE_CALLS_H

#include "base/problems.h"
#include "service/request.h"
#include "service/span.h"

/* The body as a JSON object (empty counts as {}), or a 400 that says where it is not one. */
NODISCARD int call_object(struct request *request, struct span *object);
/* 400 with all problems, when there are any. */
NODISCARD int call_check(struct request *request, const struct problems *problems);
/* An optional whole number; keeps *number when it is absent, adds a problem when it is wrong. */
void call_number(struct span object, const char *key, int64_t min, int64_t max, int64_t *number,
		 struct problems *problems);
/* A call runs in one turn, in which nobody else is served: so many items are a millisecond or
 * two, and as many as the agent sends at once. */
enum { CALL_ITEMS_MAX = 1000 };
/* An array of at most CALL_ITEMS_MAX items, or a problem. items: what they are, in the plural. */
void call_array(struct span object, const char *key, const char *items, struct span *array,
		struct problems *problems);
/* The agent id in the path is the token's, or 403. */
NODISCARD int call_is_own_queue(struct request *request);

/* The command and the key in the path belong together, and the command has not ended;
 * otherwise 404. For URLs that need no token. */
NODISCARD int capability_check(struct request *request, enum url_purpose purpose,
			       struct command *command);

/* ---- Query parameters */

enum { QUERY_MAX = 300 };

struct query_parameter {
	const char *name;
	const char *value;
};

struct query {
	struct query_parameter items[QUERY_MAX];
	size_t count;
};

/* All of them in order, or a 400 (too many, NUL inside). Borrowed from the request. */
NODISCARD int query_read(struct request *request, struct query *query);
/* A whole number in range, or a problem. */
void query_number(const struct query_parameter *parameter, int64_t min, int64_t max,
		  int64_t *number, struct problems *problems);

#endif
