#include "agent/kill_point.h"

#ifdef WITH_KILL_POINTS
#include <signal.h>
#include <stdlib.h>
#include <string.h>

void kill_point(const char *name)
{
	const char *wanted = getenv("RELAY_KILL_POINT");
	if (wanted != NULL && strcmp(wanted, name) == 0)
		raise(SIGKILL);
}
#endif
