// Package hdf5 reads HDF5 files as h5py and Keras write them, read-only:
// superblocks 0 to 3, every kind of group, contiguous, compact and chunked
// datasets with each chunk index, the filters gzip, shuffle and fletcher32,
// integers, floats and strings. It follows the HDF5 File Format Specification
// version 3.0, whose names it uses.
//
// A file is not trusted: what one call reads and allocates is bounded by a
// small multiple of the file's size, and the checksums of the newer structures
// are verified.
//
// Why not a library: github.com/scigolib/hdf5 v0.13.1 listed none of the 8
// datasets of a small Keras file and 9 of 25 of one with superblock 2, did not
// end on a group that contains itself, and opens paths only. Others need cgo.
package hdf5
