#!/bin/sh
# Makes src/ext4.img, the file system of a program's ext files. Needs mke2fs and debugfs (e2fsprogs 1.47 or newer); the image
# is checked in, so only who changes it does. No journal and no lazy initialization: then the kernel starts no
# threads for it and nothing writes to it later. The same input gives the same bytes.
# Every file can be allocated as long as programs make it; of the image only the beginning is kept, behind which is nothing yet.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"
for file in ext0 ext1 ext2 ext3; do
    printf 'refan %s\n' "$file" > "$folder/$file"
    chmod 666 "$folder/$file"
    touch -d @0 "$folder/$file"
done
touch -d @0 "$folder"
rm -f src/ext4.img
export E2FSPROGS_FAKE_TIME=1 SOURCE_DATE_EPOCH=1
mke2fs -q -t ext4 -b 1024 -N 16 -m 0 -I 256 \
    -O '^has_journal,^resize_inode,^metadata_csum,^orphan_file,^huge_file,^dir_nlink,^64bit' \
    -U 00000000-0000-0000-0000-000000000001 \
    -E lazy_itable_init=0,nodiscard,root_owner=0:0,hash_seed=00000000-0000-0000-0000-000000000002 \
    -d "$folder" src/ext4.img 512
for file in ext0 ext1 ext2 ext3; do
    debugfs -w -R "set_inode_field $file ctime @0" src/ext4.img 2> /dev/null
done
if [ -n "$(tail -c +65537 src/ext4.img | tr -d '\0')" ]; then
    echo "mke2fs has put something behind the first 64 KiB, which would be lost: keep more of the image" >&2
    exit 1
fi
truncate -s 64K src/ext4.img
