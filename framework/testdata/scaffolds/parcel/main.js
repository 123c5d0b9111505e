console.log("parcel");
