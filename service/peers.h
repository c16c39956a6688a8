/* Connections between requests: one that sends its next request byte by byte, or none at
 * all, is closed after a while, so that slow clients cannot hold all places. (The server's
 * own time-out starts again with each byte.) */
#ifndef SERVICE_PEERS_H
#define SERVICE_PEERS_H

#include "service/alarm.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct peer {
	LIST_ENTRY(peer) link;
	int fd;
	int64_t idle_since_ms; /* 0: a request is under way */
};

struct peers {
	LIST_HEAD(peer_list, peer) list;
	struct alarms *alarms;
	struct alarm_entry sweep;
};

void peers_init(struct peers *peers, struct alarms *alarms);
struct peer *peer_new(struct peers *peers, int fd);
void peer_free(struct peer *peer);
void peer_begin_request(struct peer *peer);
void peer_end_request(struct peer *peer);

#endif
