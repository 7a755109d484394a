/* SPDX-License-Identifier: GPL-2.0-or-later */
/* socket.h - the service's unix socket, named in .dmo/info: it gives descriptors for tickets */
#ifndef FS_SOCKET_H
#define FS_SOCKET_H

#include "fs.h"

/* Listens and answers on a thread; fills fs->socket. Without it the name is missing, and there are no tickets. */
void fs_socket_start(struct fs *fs);

#endif
