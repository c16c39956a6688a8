/* Connections that hold a place without doing anything: clients that went away in the middle
 * of a body, or that send their next request byte by byte. libmicrohttpd 0.9.75 does not
 * notice the first, and its time-out starts again with each byte of the second. */
#ifndef SERVICE_PEERS_H
#define SERVICE_PEERS_H

#include "service/alarm.h"

#include <stdint.h>
#include <sys/queue.h>

enum peer_phase {
	PEER_IDLE,      /* between requests, or in the head of one */
	PEER_RECEIVING, /* a body is coming */
	PEER_SERVED,    /* the request is whole */
};

struct peer {
	LIST_ENTRY(peer) link;
	struct peers *peers;
	int fd;
	enum peer_phase phase;
	int64_t since_ms;
};

struct peers {
	LIST_HEAD(peer_list, peer) list;
	struct alarms *alarms;
	struct alarm_entry sweep;
};

void peers_init(struct peers *peers, struct alarms *alarms);
struct peer *peer_new(struct peers *peers, int fd);
/* NULL is fine for these. */
void peer_free(struct peer *peer);
void peer_set_phase(struct peer *peer, enum peer_phase phase);

#endif
