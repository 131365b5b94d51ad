// Package hdf5 reads HDF5 files as h5py and Keras write them, read-only.
package hdf5
